//! Waves, told what was sent, what became of it and what was seen afterwards.

use super::*;
use crate::plan::relief::tests::{movement, picture};

const SETTLE: Duration = Duration::from_secs(15);

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + seconds).unwrap()
}

fn moment(seconds: i64) -> Moment {
    Moment { wall: at(seconds), monotonic: Duration::from_secs(seconds.unsigned_abs()) }
}

fn settings() -> WaveSettings {
    WaveSettings { largest: 8, ..WaveSettings::default() }
}

fn failed() -> OperationState {
    OperationState::Refused { cause: String::new() }
}

fn superseded() -> OperationState {
    OperationState::Superseded { cause: String::new() }
}

/// Waves on two nodes, and the time.
struct Play {
    waves: Waves,
    clock: i64,
    /// By how many seconds somebody has set the calendar forward.
    stepped: i64,
    next: i64,
}

impl Play {
    fn new(settings: WaveSettings) -> Play {
        Play { waves: Waves::new(settings), clock: 0, stepped: 0, next: 1 }
    }

    fn now(&self) -> Moment {
        Moment { wall: at(self.clock + self.stepped), ..moment(self.clock) }
    }

    /// A wave of moves from node 1 to node 2 that end so; of each 10 bytes that leave, so many tenths really go.
    fn wave(&mut self, ends: &[OperationState], tenths: u64) -> JudgedWave {
        let segments: Vec<i64> = (self.next..).take(ends.len()).collect();
        self.next += 100;
        let on = |node: i64| segments.iter().map(|segment| (*segment, node)).collect::<Vec<_>>();
        self.waves.plan_on(Arc::new(picture(&[(1, 300, Some(300)), (2, 50, Some(50))], &on(1))));
        for segment in &segments {
            self.waves.record_sent(OperationId(*segment), &movement(*segment, 1, 2), self.now());
        }
        self.clock += 5;
        for (segment, end) in segments.iter().zip(ends) {
            self.waves.record_end(OperationId(*segment), end, self.now());
        }
        let landed = ends.iter().filter(|end| **end == OperationState::Landed).count() as u64;
        let went = landed * tenths;
        let mut copies = Vec::new();
        for (segment, end) in segments.iter().zip(ends) {
            match end {
                OperationState::Landed => copies.push((*segment, 2)),
                OperationState::Superseded { .. } => {}
                _ => copies.push((*segment, 1)),
            }
        }
        let gone = 10 * ends.iter().filter(|end| **end == superseded()).count() as u64;
        let listed = (300 - gone - 10 * landed, 50 + 10 * landed);
        let measured = (300 - gone - went, 50 + went);
        let nodes = [(1, listed.0, Some(measured.0)), (2, listed.1, Some(measured.1))];
        self.clock += 20;
        let mut seen = picture(&nodes, &copies);
        seen.taken_at = self.now().wall;
        self.waves.judge(&seen, SETTLE, self.now()).expect("it is over")
    }

    fn landing(&mut self, moves: usize, tenths: u64) -> WaveVerdict {
        self.wave(&vec![OperationState::Landed; moves], tenths).verdict
    }
}

#[test]
fn a_wave_doubles_while_the_relief_is_as_predicted() {
    let mut play = Play::new(settings());
    for (moves, next) in [(1, 2), (2, 4), (4, 8), (8, 8)] {
        assert_eq!(play.landing(moves, 10), WaveVerdict::Good);
        assert_eq!(play.waves.size(), Some(next), "never above the largest");
    }
}

#[test]
fn a_wave_that_did_not_fill_up_proves_no_more_than_it_carried() {
    let mut play = Play::new(WaveSettings { first: 4, ..settings() });
    assert_eq!(play.landing(1, 10), WaveVerdict::Good);
    assert_eq!(play.waves.size(), Some(4));
    assert_eq!(play.landing(3, 10), WaveVerdict::Good);
    assert_eq!(play.waves.size(), Some(6));
}

#[test]
fn half_of_the_relief_is_as_predicted_and_less_is_not() {
    let mut play = Play::new(WaveSettings { first: 8, ..settings() });
    assert_eq!(play.landing(1, 6), WaveVerdict::Good);
    assert_eq!(play.landing(1, 4), WaveVerdict::Poor);
    assert_eq!(play.waves.size(), Some(4));
    assert_eq!(play.landing(1, 0), WaveVerdict::NoRelief);
    assert_eq!(play.waves.size(), Some(2));
}

#[test]
fn a_failed_move_halves_the_next_wave_and_is_not_counted_as_relief() {
    let mut play = Play::new(WaveSettings { first: 8, ..settings() });
    let mixed = play.wave(&[OperationState::Landed, OperationState::Landed, failed()], 10);
    assert_eq!((mixed.verdict, mixed.landed, mixed.failed), (WaveVerdict::Poor, 2, 1));
    assert!(mixed.relief.realised < mixed.relief.predicted, "{mixed:?}");
    assert_eq!(play.waves.size(), Some(4));
    assert_eq!(play.wave(&[failed()], 10).verdict, WaveVerdict::Failed);
    assert_eq!(play.waves.size(), Some(2));
    for _ in 0..4 {
        play.wave(&[failed()], 10);
    }
    assert_eq!(play.waves.size(), Some(1), "at least one");
    assert_eq!(play.waves.refusal(play.now()), None, "what was never moved does not stop us here");
}

#[test]
fn what_became_pointless_proves_nothing() {
    let mut play = Play::new(WaveSettings { first: 4, ..settings() });
    let wave = play.wave(&[superseded(), superseded()], 10);
    assert_eq!((wave.verdict, wave.relief.moves_judged), (WaveVerdict::ProvesNothing, 0));
    assert_eq!(play.waves.size(), Some(4));
    // Of what landed, the relief is judged without the rest.
    let wave = play.wave(&[superseded(), OperationState::Landed], 10);
    assert_eq!((wave.verdict, wave.relief.percent()), (WaveVerdict::Good, Some(100)));
}

#[test]
fn several_waves_without_relief_stop_us_and_rests_double() {
    let mut play = Play::new(WaveSettings { first: 4, ..settings() });
    for _ in 0..2 {
        assert_eq!(play.landing(1, 0), WaveVerdict::NoRelief);
        assert_eq!(play.waves.refusal(play.now()), None);
    }
    let mut minutes = 30;
    for stop in 3..10 {
        assert_eq!(play.landing(1, 0), WaveVerdict::NoRelief);
        let remaining = Duration::from_secs(minutes * 60);
        assert_eq!(play.waves.refusal(play.now()), Some(Reason::NoRelief { waves: stop, remaining }));
        assert_eq!(play.waves.stopped_after(play.now()), Some(stop));
        play.clock += i64::try_from(minutes * 60).unwrap() - 1;
        assert!(play.waves.refusal(play.now()).is_some());
        play.clock += 1;
        assert_eq!((play.waves.refusal(play.now()), play.waves.size()), (None, Some(1)), "one move shows");
        minutes = (minutes * 2).min(24 * 60);
    }
    assert_eq!(play.landing(1, 3), WaveVerdict::Poor, "a little relief is relief");
    for _ in 0..2 {
        play.landing(1, 0);
        assert_eq!(play.waves.refusal(play.now()), None, "and the count begins anew");
    }
    play.landing(1, 0);
    let remaining = Duration::from_secs(30 * 60);
    assert_eq!(play.waves.refusal(play.now()), Some(Reason::NoRelief { waves: 3, remaining }));
    for stepped in [-86_400, 86_400] {
        play.stepped = stepped;
        let stop = Some(Reason::NoRelief { waves: 3, remaining });
        assert_eq!(
            play.waves.refusal(play.now()),
            stop,
            "a clock that is set makes no rest longer or shorter"
        );
    }
}

#[test]
fn whoever_wants_no_stop_has_none() {
    let mut play = Play::new(WaveSettings { without_relief: 0, ..settings() });
    for _ in 0..20 {
        play.landing(1, 0);
    }
    assert_eq!(play.waves.refusal(play.now()), None);
}

#[test]
fn a_full_wave_refuses_until_it_was_judged_on_settled_figures() {
    let mut waves = Waves::new(WaveSettings { first: 2, ..settings() });
    let before = Arc::new(picture(&[(1, 300, None), (2, 50, None)], &[(1, 1), (2, 1)]));
    waves.plan_on(before);
    waves.record_sent(OperationId(1), &movement(1, 1, 2), moment(0));
    assert_eq!((waves.room(), waves.refusal(moment(0))), (Some(1), None));
    waves.record_end(OperationId(1), &OperationState::Landed, moment(1));
    assert_eq!(waves.refusal(moment(1)), None, "there is room for another one");
    waves.record_sent(OperationId(2), &movement(2, 1, 2), moment(2));
    assert_eq!(waves.refusal(moment(2)), Some(Reason::WaveFull { size: 2 }));
    assert_eq!(waves.moves().len(), 2);
    let mut seen = picture(&[(1, 280, None), (2, 70, None)], &[(1, 2), (2, 2)]);
    seen.taken_at = at(100);
    assert_eq!(waves.judge(&seen, SETTLE, moment(100)), None, "one is open");
    waves.record_end(OperationId(7), &OperationState::Expired, moment(100));
    waves.record_end(OperationId(2), &failed(), moment(110));
    assert_eq!(waves.refusal(moment(110)), Some(Reason::WaveUnjudged { moves: 2 }));
    // It landed late after all.
    waves.record_end(OperationId(2), &OperationState::Landed, moment(120));
    for early in [100, 134] {
        seen.taken_at = at(early);
        assert_eq!(waves.judge(&seen, SETTLE, moment(140)), None, "its figures may be those of before");
    }
    seen.taken_at = at(135);
    let judged = waves.judge(&seen, SETTLE, moment(136)).unwrap();
    assert_eq!((judged.verdict, judged.began_at, judged.landed), (WaveVerdict::Good, at(0), 2));
    assert_eq!(waves.judge(&seen, SETTLE, moment(137)), None, "judged once");
    assert_eq!((waves.refusal(moment(137)), waves.size(), waves.moves().len()), (None, Some(4), 0));
}

#[test]
fn a_wave_that_goes_on_after_the_next_look_is_judged_as_a_whole() {
    let mut waves = Waves::new(WaveSettings { first: 2, ..settings() });
    waves.plan_on(Arc::new(picture(&[(1, 300, None), (2, 50, None)], &[(1, 1)])));
    waves.record_sent(OperationId(1), &movement(1, 1, 2), moment(0));
    waves.plan_on(Arc::new(picture(&[(1, 290, None), (2, 60, None)], &[(1, 2), (2, 1)])));
    waves.record_sent(OperationId(2), &movement(2, 1, 2), moment(30));
    for operation in [1, 2] {
        waves.record_end(OperationId(operation), &OperationState::Landed, moment(31));
    }
    let mut seen = picture(&[(1, 280, None), (2, 70, None)], &[(1, 2), (2, 2)]);
    seen.taken_at = at(60);
    let judged = waves.judge(&seen, SETTLE, moment(60)).unwrap();
    assert_eq!((judged.relief.moves_judged, judged.relief.percent()), (2, Some(100)));
}

#[test]
fn a_wave_that_was_planned_on_nothing_proves_nothing() {
    let mut waves = Waves::new(settings());
    waves.record_sent(OperationId(1), &movement(1, 1, 2), moment(0));
    waves.record_end(OperationId(1), &OperationState::Landed, moment(1));
    let mut seen = picture(&[(1, 280, None), (2, 70, None)], &[(1, 2)]);
    seen.taken_at = at(60);
    assert_eq!(waves.judge(&seen, SETTLE, moment(60)).unwrap().verdict, WaveVerdict::ProvesNothing);
    let mut waves = Waves::new(WaveSettings { first: 2, ..settings() });
    for (operation, end) in [(1, OperationState::Landed), (2, failed())] {
        waves.record_sent(OperationId(operation), &movement(operation, 1, 2), moment(0));
        waves.record_end(OperationId(operation), &end, moment(1));
    }
    assert_eq!(waves.judge(&seen, SETTLE, moment(60)).unwrap().verdict, WaveVerdict::Failed);
    assert_eq!(waves.size(), Some(1));
}

#[test]
fn a_wave_is_judged_in_its_time_whatever_the_calendar_says() {
    for stepped in [-86_400, 86_400] {
        let mut waves = Waves::new(settings());
        waves.record_sent(OperationId(1), &movement(1, 1, 2), moment(0));
        waves.record_end(OperationId(1), &OperationState::Landed, moment(1));
        let mut seen = picture(&[(1, 280, None), (2, 70, None)], &[(1, 2)]);
        let now = |seconds| Moment { wall: at(seconds + stepped), ..moment(seconds) };
        seen.taken_at = at(15 + stepped);
        assert_eq!(waves.judge(&seen, SETTLE, now(15)), None, "not earlier");
        seen.taken_at = at(16 + stepped);
        let judged = waves.judge(&seen, SETTLE, now(16)).expect("nor later");
        assert_eq!(
            (judged.began_at, judged.judged_at),
            (at(0), at(16 + stepped)),
            "people are told the calendar's"
        );
    }
}

#[test]
fn a_move_that_nobody_can_see_holds_up_no_wave() {
    let mut waves = Waves::new(WaveSettings { first: 2, ..settings() });
    waves.plan_on(Arc::new(picture(&[(1, 300, None), (2, 50, None)], &[(1, 1), (2, 1)])));
    for operation in [1, 2] {
        waves.record_sent(OperationId(operation), &movement(operation, 1, 2), moment(0));
    }
    waves.record_end(OperationId(1), &OperationState::Landed, moment(1));
    assert!(!waves.give_up(OperationId(1), moment(600)), "it has ended");
    assert!(!waves.give_up(OperationId(3), moment(600)), "it is none of ours");
    assert_eq!(waves.refusal(moment(600)), Some(Reason::WaveFull { size: 2 }));
    assert!(waves.give_up(OperationId(2), moment(600)));
    assert!(!waves.give_up(OperationId(2), moment(601)), "once");
    let mut seen = picture(&[(1, 290, None), (2, 60, None)], &[(1, 2)]);
    seen.taken_at = at(615);
    let judged = waves.judge(&seen, SETTLE, moment(615)).unwrap();
    assert_eq!((judged.sent, judged.landed, judged.failed, judged.relief.moves_judged), (2, 1, 0, 1));
    assert_eq!(waves.refusal(moment(615)), None);
}

#[test]
fn a_restart_goes_on_with_what_earlier_waves_have_taught() {
    let past = |size, sent, verdict, seconds| PastWave { size, sent, verdict, judged_at: at(seconds) };
    let mut waves = Waves::new(settings());
    waves.resume(
        [past(1, 1, WaveVerdict::Good, 0), past(2, 2, WaveVerdict::Good, 30)].into_iter(),
        moment(31),
    );
    assert_eq!((waves.size(), waves.refusal(moment(31))), (Some(4), None));
    let mut waves = Waves::new(settings());
    waves.resume([past(40, 40, WaveVerdict::Good, 0)].into_iter(), moment(31));
    assert_eq!(waves.size(), Some(8), "a smaller limit holds at once");
    let mut waves = Waves::new(settings());
    waves.resume((0..3).map(|minute| past(1, 1, WaveVerdict::NoRelief, minute * 60)), moment(180));
    let remaining = Duration::from_secs(29 * 60);
    let stop = Some(Reason::NoRelief { waves: 3, remaining });
    assert_eq!(waves.refusal(moment(180)), stop, "a restart is no rest");
}

#[test]
fn waves_that_are_off_never_refuse() {
    let mut waves = Waves::new(WaveSettings { enabled: false, first: 1, largest: 1, ..settings() });
    let past = PastWave { size: 1, sent: 1, verdict: WaveVerdict::NoRelief, judged_at: at(0) };
    waves.resume([past; 3].into_iter(), moment(0));
    waves.record_sent(OperationId(1), &movement(1, 1, 2), moment(0));
    assert_eq!((waves.refusal(moment(0)), waves.size(), waves.room()), (None, None, None));
    assert_eq!(waves.judge(&picture(&[], &[]), SETTLE, moment(100)), None);
}

#[test]
fn nonsense_wave_sizes_become_the_nearest_sense() {
    assert_eq!(Waves::new(WaveSettings { first: 0, ..settings() }).size(), Some(1));
    assert_eq!(Waves::new(WaveSettings { first: 9, ..settings() }).size(), Some(8));
    assert_eq!(Waves::new(WaveSettings { largest: 0, ..settings() }).size(), Some(1), "0 is no limit");
}

#[test]
fn verdicts_keep_their_names() {
    for verdict in WaveVerdict::ALL {
        assert_eq!(WaveVerdict::of_code(verdict.code()), Some(verdict));
    }
    assert_eq!(WaveVerdict::of_code("splendid"), None);
}
