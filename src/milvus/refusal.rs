//! Milvus' own way to say no: two generations of codes, and texts where the codes say nothing.

use std::fmt;

use super::error::{Call, Remedy};
use super::wire::common::{ErrorCode, Status};

/// The longest text of a server that is passed on; the rest helps nobody in a log line.
const LONGEST_REASON: usize = 400;

/// `merr` codes of 2.3 and later that are told apart. The numbers are Milvus'.
mod code {
    pub const NOT_READY: i32 = 1;
    pub const UNAVAILABLE: i32 = 2;
    pub const MEMORY_LIMIT: i32 = 3;
    pub const TOO_MANY_REQUESTS: i32 = 4;
    pub const INTERNAL: i32 = 5;
    pub const DISK_LIMIT: i32 = 7;
    pub const RATE_LIMIT: i32 = 8;
    pub const RESOURCE_INSUFFICIENT: i32 = 12;
    pub const COLLECTION_NOT_FOUND: i32 = 100;
    pub const COLLECTION_NOT_LOADED: i32 = 101;
    pub const COLLECTION_NOT_FULLY_LOADED: i32 = 103;
    pub const COLLECTION_RECOVERING: i32 = 106;
    pub const REPLICA_NOT_FOUND: i32 = 400;
    pub const SEGMENT_RESOURCE_FAILED: i32 = 605;
    pub const INDEX_NOT_FOUND: i32 = 700;
    pub const DATABASE_NOT_FOUND: i32 = 800;
    pub const NODE_NOT_FOUND: i32 = 901;
    pub const NODE_OFFLINE: i32 = 902;
    pub const NODE_STATE_UNEXPECTED: i32 = 906;
    pub const INVALID_PARAMETER: i32 = 1100;
    pub const PARAMETER_TOO_LARGE: i32 = 1102;
    pub const METRIC_NOT_FOUND: i32 = 1200;
    pub const NOT_AUTHENTICATED: i32 = 1400;
    pub const NOT_PERMITTED: i32 = 1401;
    pub const HTTP_RATE_LIMIT: i32 = 1807;
    pub const NOT_SUPPORTED: i32 = 3000;
    pub const CANCELLED: i32 = 10_000;
    pub const DEADLINE: i32 = 10_001;
}

/// What a destination without room says where it has no code of its own (2.3 … 2.6.7).
const FULL_TEXTS: [&str; 2] = ["OOM if load", "memory limit exceeded"];
/// How the coordinator begins its answer when a task failed, as opposed to the call being refused.
const BEGUN_TEXT: &str = "failed to balance segments";
/// How it refuses a call with a segment that is not on its source.
const NOT_THERE_TEXT: &str = "not found in source node";
/// What a plan from a state that is gone is answered with where the code says nothing.
const OUTDATED_TEXTS: [&str; 4] =
    [NOT_THERE_TEXT, "stopping", "node not found", "task with the same segment exists"];
/// How 2.2, which has no codes, says that a collection is dropped or released.
const GONE_TEXTS: [&str; 5] = [
    "can't find collection",
    "collection not found",
    "collection not loaded",
    "has not been loaded",
    "not been loaded into memory",
];

/// How a refusal with a code is told, and what follows the number.
const CODE_TEXTS: (&str, &str) = ("refused with code ", " (");

/// Codes of a destination that cannot take a segment, whatever the text says: without room, unknown, offline,
/// read-only.
const DESTINATION_CODES: [i32; 6] = [
    code::MEMORY_LIMIT,
    code::DISK_LIMIT,
    code::SEGMENT_RESOURCE_FAILED,
    code::NODE_NOT_FOUND,
    code::NODE_OFFLINE,
    code::NODE_STATE_UNEXPECTED,
];

/// What it says where the code says nothing.
const DESTINATION_TEXTS: [&str; 4] = ["OOM if load", "memory limit exceeded", "node not found", "stopping"];

/// Whether the failure of a `LoadBalance`, as told by [`MilvusError`](super::MilvusError) and kept in the journal,
/// is one of its destination, which then is to be left alone.
pub fn blames_destination(told: &str) -> bool {
    let (before, after) = CODE_TEXTS;
    let code = told.split_once(before).and_then(|(_, rest)| rest.split_once(after));
    let code = code.and_then(|(number, _)| number.parse::<i32>().ok());
    code.is_some_and(|code| DESTINATION_CODES.contains(&code))
        || DESTINATION_TEXTS.iter().any(|text| told.contains(text))
}

/// A status of Milvus' that is not success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// `code`; 0 from 2.2, which has only the older one.
    pub code: i32,
    /// `error_code`, deprecated since 2.3.
    pub legacy_code: i32,
    /// The server's text, in one line.
    pub reason: String,
    /// Whether the server thinks that the same call may succeed later.
    pub retriable: bool,
}

impl Refusal {
    /// The refusal in a status; nothing when it is success, which takes *both* codes to be 0.
    pub fn in_status(status: &Status) -> Option<Refusal> {
        if status.code == 0 && status.error_code == 0 {
            return None;
        }
        Some(Refusal {
            code: status.code,
            legacy_code: status.error_code,
            reason: one_line(&status.reason),
            retriable: status.retriable,
        })
    }

    /// What to do about it.
    pub fn remedy(&self, call: Call) -> Remedy {
        if self.destination_is_full() {
            return Remedy::Replan;
        }
        if self.collection_is_gone() {
            return Remedy::SkipCollection;
        }
        if self.code == 0 {
            return self.legacy_remedy(call);
        }
        match self.code {
            code::UNAVAILABLE if self.says(&OUTDATED_TEXTS) => Remedy::Replan,
            code::NOT_READY
            | code::UNAVAILABLE
            | code::TOO_MANY_REQUESTS
            | code::RATE_LIMIT
            | code::RESOURCE_INSUFFICIENT
            | code::HTTP_RATE_LIMIT => Remedy::RetryLater,
            code::COLLECTION_NOT_FULLY_LOADED | code::COLLECTION_RECOVERING => Remedy::SkipCollection,
            // Resource groups 300, replicas 400, channels 500, segments 600, nodes 900: what the plan was made
            // from is gone. So it is when a task was replaced by another (5).
            code::INTERNAL | code::MEMORY_LIMIT | code::DISK_LIMIT | 300..=699 | 900..=999 => Remedy::Replan,
            code::INVALID_PARAMETER..=code::PARAMETER_TOO_LARGE
            | code::METRIC_NOT_FOUND
            | code::NOT_SUPPORTED => Remedy::OurBug,
            code::NOT_AUTHENTICATED | code::NOT_PERMITTED => Remedy::FixAccess,
            code::CANCELLED | code::DEADLINE => unanswered(call),
            // 65535 and whatever later versions invent.
            _ => self.remedy_by_text(call),
        }
    }

    /// The same for 2.2, which leaves `code` at 0.
    fn legacy_remedy(&self, call: Call) -> Remedy {
        match ErrorCode::try_from(self.legacy_code) {
            Ok(ErrorCode::NotReadyServe | ErrorCode::RateLimit) => Remedy::RetryLater,
            Ok(ErrorCode::PermissionDenied) => Remedy::FixAccess,
            Ok(ErrorCode::IllegalArgument) => Remedy::OurBug,
            Ok(ErrorCode::MetaFailed | ErrorCode::NoReplicaAvailable | ErrorCode::SegmentNotFound) => {
                Remedy::Replan
            }
            _ => self.remedy_by_text(call),
        }
    }

    fn remedy_by_text(&self, call: Call) -> Remedy {
        if self.says(&OUTDATED_TEXTS) {
            return Remedy::Replan;
        }
        // A move that failed in the middle ("connection refused" from a node just killed, a failed load) may
        // have left a copy, and the other segments of its call go on.
        unanswered(call)
    }

    /// Whether a move had begun when it failed: then the other segments of its call may still be on their way. All
    /// versions say so in the same words, before the cause (measured on 2.3.5, which says the same of a segment
    /// that is elsewhere, before it begins anything).
    pub fn came_after_the_start(&self) -> bool {
        self.says(&[BEGUN_TEXT]) && !self.says(&[NOT_THERE_TEXT])
    }

    /// Whether a move's destination lacks memory or disk.
    pub fn destination_is_full(&self) -> bool {
        let full_codes = [code::MEMORY_LIMIT, code::DISK_LIMIT, code::SEGMENT_RESOURCE_FAILED];
        full_codes.contains(&self.code)
            || self.legacy_code == ErrorCode::InsufficientMemoryToLoad as i32
            || self.says(&FULL_TEXTS)
    }

    /// Whether the collection or its database is dropped or released.
    pub fn collection_is_gone(&self) -> bool {
        let gone_codes = [code::COLLECTION_NOT_FOUND, code::COLLECTION_NOT_LOADED, code::DATABASE_NOT_FOUND];
        if self.code != 0 {
            return gone_codes.contains(&self.code);
        }
        let gone = [ErrorCode::CollectionNotExists as i32, ErrorCode::CollectionNameNotFound as i32];
        gone.contains(&self.legacy_code) || self.says(&GONE_TEXTS)
    }

    /// Whether a collection has no replica: until 2.3 that is how one that is not loaded answers.
    pub fn replica_is_missing(&self) -> bool {
        self.code == code::REPLICA_NOT_FOUND
            || (self.code == 0 && self.legacy_code == ErrorCode::MetaFailed as i32)
    }

    /// Whether a collection has no index.
    pub fn index_is_missing(&self) -> bool {
        self.code == code::INDEX_NOT_FOUND
            || (self.code == 0 && self.legacy_code == ErrorCode::IndexNotExist as i32)
    }

    fn says(&self, texts: &[&str]) -> bool {
        texts.iter().any(|text| self.reason.contains(text))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = if self.reason.is_empty() { "no reason given" } else { &self.reason };
        let later = if self.retriable { ", may succeed later" } else { "" };
        match self.code {
            0 => write!(f, "refused with error_code {} ({reason}{later})", self.legacy_code),
            code => {
                let (before, after) = CODE_TEXTS;
                write!(f, "{before}{code}{after}{reason}{later})")
            }
        }
    }
}

/// A call whose answer says nothing about its effect.
fn unanswered(call: Call) -> Remedy {
    if call.writes() { Remedy::OutcomeUnknown } else { Remedy::RetryLater }
}

/// A server's text in one line of bearable length, without control characters.
pub(super) fn one_line(text: &str) -> String {
    let mut line = String::new();
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
        if line.len() > LONGEST_REASON {
            line.truncate(line.floor_char_boundary(LONGEST_REASON));
            line.push('…');
            break;
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(code: i32, legacy_code: i32, reason: &str) -> Refusal {
        let status = Status { code, error_code: legacy_code, reason: reason.to_owned(), retriable: false };
        Refusal::in_status(&status).expect("not success")
    }

    #[test]
    fn success_takes_both_codes() {
        assert_eq!(Refusal::in_status(&Status::default()), None);
        assert_eq!(refusal(0, 1, "2.2 says it this way").legacy_code, 1);
        assert_eq!(refusal(65535, 0, "so may later versions").code, 65535);
    }

    #[test]
    fn a_failed_task_is_told_from_a_refused_call() {
        let begun = ["memory limit exceeded[predict=8e+07]", "task with the same segment exists"];
        for cause in begun {
            let refusal = refusal(65535, 1, &format!("failed to balance segments: {cause}"));
            assert!(refusal.came_after_the_start(), "{cause}");
        }
        for reason in
            ["failed to balance segments: segment 1 not found in source node 1", "node not found[node=9]"]
        {
            assert!(!refusal(65535, 1, reason).came_after_the_start(), "{reason}");
        }
    }

    #[test]
    fn every_code_has_its_remedy() {
        use Remedy::{FixAccess, OurBug, OutcomeUnknown, Replan, RetryLater, SkipCollection};
        for (code, expected) in [
            (1, RetryLater),
            (2, RetryLater),
            (4, RetryLater),
            (5, Replan),
            (8, RetryLater),
            (12, RetryLater),
            (100, SkipCollection),
            (101, SkipCollection),
            (103, SkipCollection),
            (106, SkipCollection),
            (300, Replan),
            (400, Replan),
            (503, Replan),
            (600, Replan),
            (605, Replan),
            (800, SkipCollection),
            (901, Replan),
            (906, Replan),
            (1100, OurBug),
            (1102, OurBug),
            (1200, OurBug),
            (1400, FixAccess),
            (1401, FixAccess),
            (1807, RetryLater),
            (3000, OurBug),
            (10_000, OutcomeUnknown),
            (10_001, OutcomeUnknown),
            (65_535, OutcomeUnknown),
            (77_777, OutcomeUnknown),
        ] {
            assert_eq!(refusal(code, 1, "some text").remedy(Call::LoadBalance), expected, "{code}");
        }
        assert_eq!(refusal(10_001, 1, "").remedy(Call::GetReplicas), RetryLater, "reading has no outcome");
        assert_eq!(refusal(65_535, 1, "").remedy(Call::GetReplicas), RetryLater);
    }

    #[test]
    fn texts_decide_where_the_code_says_nothing() {
        // As seen from 2.3.5.
        let full = refusal(65_535, 1, "failed to balance segments: memory limit exceeded[predict=7.8e+07]");
        assert!(full.destination_is_full());
        assert_eq!(full.remedy(Call::LoadBalance), Remedy::Replan);
        assert!(
            refusal(65_535, 1, "load segment failed, OOM if load, maxSegmentSize = 1").destination_is_full()
        );
        assert!(refusal(605, 1, "").destination_is_full());
        let outdated = refusal(65_535, 1, "segment 4 not found in source node 7");
        assert!(!outdated.destination_is_full());
        assert_eq!(outdated.remedy(Call::LoadBalance), Remedy::Replan);
        assert_eq!(refusal(65_535, 1, "node 7 is stopping").remedy(Call::LoadBalance), Remedy::Replan);
        assert_eq!(refusal(2, 1, "node 7 is stopping").remedy(Call::LoadBalance), Remedy::Replan);
        let killed = refusal(65_535, 1, "dial tcp 127.0.0.1:2: connect: connection refused");
        assert_eq!(killed.remedy(Call::LoadBalance), Remedy::OutcomeUnknown);
    }

    #[test]
    fn a_failure_of_the_destination_is_known_by_what_is_told_of_it() {
        for (code, reason, expected) in [
            (605, "", true),
            (3, "", true),
            (901, "", true),
            (902, "", true),
            (906, "", true),
            (65_535, "failed to balance segments: memory limit exceeded[predict=7.8e+07]", true),
            (65_535, "load segment failed, OOM if load, maxSegmentSize = 1", true),
            (2, "node 7 is stopping", true),
            (600, "segment 605 not found in source node 7", false),
            (103, "code 605 (", false),
            (1, "", false),
            (6_050, "", false),
        ] {
            assert_eq!(
                blames_destination(&refusal(code, 1, reason).to_string()),
                expected,
                "{code} {reason}"
            );
        }
        assert!(blames_destination(&refusal(0, 1, "node not found").to_string()), "from 2.2");
        assert!(!blames_destination("refused with code many (no) and more"));
        assert!(!blames_destination(""));
    }

    #[test]
    fn the_old_style_is_understood() {
        assert!(refusal(0, 1, "can't find collection: gone").collection_is_gone());
        assert!(refusal(0, 4, "").collection_is_gone());
        assert!(!refusal(0, 1, "something else").collection_is_gone());
        assert!(!refusal(65_535, 1, "collection not found").collection_is_gone(), "codes win over texts");
        assert_eq!(refusal(0, 56, "").remedy(Call::GetReplicas), Remedy::RetryLater);
        assert_eq!(refusal(0, 1, "boom").remedy(Call::LoadBalance), Remedy::OutcomeUnknown);
    }

    #[test]
    fn a_servers_text_stays_in_one_short_line() {
        assert_eq!(one_line("a\n\tb\u{1b}[31m  c"), "a b [31m c");
        let long = one_line(&"é".repeat(100_000));
        assert!(long.len() < LONGEST_REASON + 10 && long.ends_with('…'), "{}", long.len());
    }

    #[test]
    fn the_refusals_of_a_real_2_3_5_are_understood() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/milvus-2.3.5/answers.json");
        let answers: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let recorded = |name: &str| {
            let answer = &answers[name]["answer"];
            // LoadBalance answers with a bare status.
            let status = answer.get("status").unwrap_or(answer);
            let number = |key: &str| i32::try_from(status[key].as_i64().unwrap()).unwrap();
            refusal(number("code"), number("error_code"), status["reason"].as_str().unwrap())
        };
        for (name, remedy) in [
            ("LoadBalance/wrong source node", Remedy::Replan),
            ("LoadBalance/wrong destination node", Remedy::Replan),
            ("LoadBalance/wrong segment", Remedy::Replan),
            ("LoadBalance/already moved", Remedy::Replan),
            ("LoadBalance/unknown collection", Remedy::SkipCollection),
            ("LoadBalance/unloaded collection", Remedy::SkipCollection),
        ] {
            assert_eq!(recorded(name).remedy(Call::LoadBalance), remedy, "{name}");
        }
        assert!(recorded("GetReplicas/unloaded").replica_is_missing());
        assert!(recorded("GetQuerySegmentInfo/unknown").collection_is_gone());
        assert_eq!(recorded("GetMetrics/wrong type").remedy(Call::GetMetrics), Remedy::OurBug);
    }
}
