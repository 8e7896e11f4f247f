//! What each limit allows and how much of it is used: one list, for the metrics and for people.

use super::executor::Executor;
use super::in_flight::UnderWay;
use super::steady::Steady;

/// One limit of the executor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitUse {
    /// Its name, which is that of its option.
    pub name: &'static str,
    /// How much is used: calls, moves or bytes; of limits for each node or collection, by the busiest one.
    pub used: u64,
    /// How much may be; 0 is no limit.
    pub limit: u64,
}

impl Executor {
    /// All limits, in the order of the options.
    pub(super) fn limit_uses(&self) -> Vec<LimitUse> {
        let settings = &self.settings;
        let under_way = UnderWay::of(self.ledger.open());
        let [by_source, by_destination, by_collection] = under_way.most_moves();
        let now = Steady::of(self.now());
        let (hour, day) = (self.spending.hour.spent(now), self.spending.day.spent(now));
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        [
            ("calls_per_minute", count(self.rate.used(now)), u64::from(settings.calls_per_minute)),
            ("calls_in_flight", count(under_way.calls()), u64::from(settings.calls_in_flight)),
            (
                "calls_in_flight_per_node",
                count(under_way.most_calls_at_a_node()),
                u64::from(settings.calls_in_flight_per_node),
            ),
            ("moves_in_flight", u64::from(under_way.moves()), u64::from(settings.moves_in_flight)),
            (
                "moves_in_flight_per_source",
                u64::from(by_source),
                u64::from(settings.moves_in_flight_per_source),
            ),
            (
                "moves_in_flight_per_destination",
                u64::from(by_destination),
                u64::from(settings.moves_in_flight_per_destination),
            ),
            (
                "moves_in_flight_per_collection",
                u64::from(by_collection),
                u64::from(settings.moves_in_flight_per_collection),
            ),
            ("bytes_per_second", self.byte_rate.used(now).0, settings.bytes_per_second.0),
            ("moves_per_hour", hour.moves, u64::from(settings.moves_per_hour)),
            ("moves_per_day", day.moves, u64::from(settings.moves_per_day)),
            ("bytes_per_hour", hour.bytes.0, self.share_of_cluster(settings.bytes_per_hour).0),
            ("bytes_per_day", day.bytes.0, self.share_of_cluster(settings.bytes_per_day).0),
        ]
        .into_iter()
        .map(|(name, used, limit)| LimitUse { name, used, limit })
        .collect()
    }
}
