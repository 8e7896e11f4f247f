//! The guard, told what proxies and nodes have counted.

use super::*;
use crate::units::NodeId;

/// A cluster that is looked at every 30 seconds.
struct Play {
    guard: Guard,
    service: ServiceReport,
    seconds: u64,
}

/// What happens until the next look: searches, how long each takes, how many of them fail.
#[derive(Clone, Copy)]
struct Traffic {
    searches: u64,
    milliseconds: u64,
    failed: u64,
    waiting: u64,
}

const USUAL: Traffic = Traffic { searches: 1_000, milliseconds: 20, failed: 0, waiting: 3 };
const SLOW: Traffic = Traffic { milliseconds: 60, ..USUAL };

impl Play {
    fn new(settings: GuardSettings) -> Play {
        Play { guard: Guard::new(settings), service: ServiceReport::default(), seconds: 0 }
    }

    /// One that knows what is usual.
    fn learned() -> Play {
        let mut play = Play::new(GuardSettings::default());
        play.several(6, USUAL, false);
        play
    }

    fn pass(&mut self, traffic: Traffic) {
        self.seconds += 30;
        let proxy = self.service.proxies.entry("proxy".to_owned()).or_default();
        if proxy.searches.buckets.is_empty() {
            proxy.searches.buckets = (0..18).map(|power| (1_000 << power, 0)).collect();
        }
        proxy.asked += traffic.searches;
        proxy.failed += traffic.failed;
        proxy.searches.count += traffic.searches;
        proxy.searches.sum_micros += traffic.searches * traffic.milliseconds * 1_000;
        for (edge, below) in &mut proxy.searches.buckets {
            if traffic.milliseconds * 1_000 <= *edge {
                *below += traffic.searches;
            }
        }
        self.service.waiting.insert(NodeId(1), traffic.waiting);
    }

    fn look_at(&mut self, is_moving: bool, fullest_destination: Option<Ratio>) -> GuardView {
        let now = Moment { wall: jiff::Timestamp::UNIX_EPOCH, monotonic: Duration::from_secs(self.seconds) };
        self.guard.look(GuardInput { service: &self.service, is_moving, fullest_destination, now })
    }

    fn look(&mut self, traffic: Traffic, is_moving: bool) -> Option<Signal> {
        self.pass(traffic);
        signal(&self.look_at(is_moving, None))
    }

    fn several(&mut self, looks: usize, traffic: Traffic, is_moving: bool) -> Vec<Option<Signal>> {
        (0..looks).map(|_| self.look(traffic, is_moving)).collect()
    }
}

fn signal(view: &GuardView) -> Option<Signal> {
    match view.hold {
        Some(Reason::UsersSlowed { signal, .. }) => Some(signal),
        _ => None,
    }
}

#[test]
fn a_wave_that_slows_searches_down_is_followed_by_a_hold_until_it_is_over() {
    let mut play = Play::learned();
    assert_eq!(play.several(3, USUAL, true), [None; 3], "moving alone is no harm");
    assert_eq!(play.look(SLOW, true), None, "once can be a burst");
    play.pass(SLOW);
    let why = play.look_at(true, None).hold.unwrap();
    assert_eq!(why, Reason::UsersSlowed { signal: Signal::SearchLatency, now: 60_000, usual: 20_000 });
    assert!(why.to_string().contains("60.0 ms"), "{why}");
    assert_eq!(play.look(USUAL, false), Some(Signal::SearchLatency), "once can be luck");
    assert_eq!(play.look(USUAL, false), None);
}

#[test]
fn what_is_slow_without_us_is_learnt_and_holds_nothing() {
    let mut play = Play::learned();
    assert_eq!(play.several(60, SLOW, false), [None; 60]);
    assert_eq!(play.several(5, SLOW, true), [None; 5], "it was so before");
}

#[test]
fn the_look_after_the_last_move_still_counts() {
    let mut play = Play::learned();
    assert_eq!(play.look(SLOW, true), None);
    assert_eq!(play.look(SLOW, false), Some(Signal::SearchLatency));
    // Also when it is slow only then.
    let mut play = Play::learned();
    assert_eq!(play.look(USUAL, true), None);
    assert_eq!(play.several(2, SLOW, false), [None, Some(Signal::SearchLatency)]);
}

#[test]
fn what_moves_bring_with_them_does_not_become_the_usual() {
    let mut play = Play::learned();
    let slower = Traffic { milliseconds: 28, ..USUAL };
    assert_eq!(play.several(60, slower, true), [None; 60]);
    let slow = Traffic { milliseconds: 40, ..USUAL };
    assert_eq!(play.several(2, slow, true)[1], Some(Signal::SearchLatency));
}

#[test]
fn every_signal_holds_and_the_gravest_is_named() {
    let slow = Traffic { milliseconds: 300, ..USUAL };
    for (traffic, named) in [
        (slow, Signal::SearchLatency),
        (Traffic { failed: 100, ..slow }, Signal::FailedSearches),
        (Traffic { waiting: 200, ..USUAL }, Signal::WaitingTasks),
    ] {
        let mut play = Play::learned();
        assert_eq!(play.several(2, traffic, true)[1], Some(named));
    }
    // The mean stays, some take long.
    let mut play = Play::learned();
    let mut views = Vec::new();
    for _ in 0..2 {
        play.pass(Traffic { searches: 60, milliseconds: 300, ..USUAL });
        play.pass(Traffic { searches: 940, milliseconds: 1, ..USUAL });
        views.push(signal(&play.look_at(true, None)));
    }
    assert_eq!(views, [None, Some(Signal::SlowSearches)]);
}

#[test]
fn a_full_destination_holds_without_any_counters() {
    let mut play = Play::new(GuardSettings::default());
    for (share, expected) in [(890_000, None), (910_000, None), (910_000, Some(Signal::DestinationMemory))] {
        assert_eq!(signal(&play.look_at(true, Some(Ratio(share)))), expected);
    }
}

#[test]
fn small_rises_are_nobodys_problem() {
    let quick = Traffic { milliseconds: 2, ..USUAL };
    let mut play = Play::new(GuardSettings::default());
    play.several(6, quick, false);
    assert_eq!(play.several(5, Traffic { milliseconds: 9, ..quick }, true), [None; 5], "four times nothing");
}

#[test]
fn what_jumps_anyway_must_jump_further() {
    let mut play = Play::new(GuardSettings::default());
    for look in 0..40 {
        let milliseconds = if look % 2 == 0 { 20 } else { 100 };
        play.look(Traffic { milliseconds, ..USUAL }, false);
    }
    assert_eq!(play.several(5, Traffic { milliseconds: 130, ..USUAL }, true), [None; 5]);
    assert_eq!(play.several(2, Traffic { milliseconds: 400, ..USUAL }, true)[1], Some(Signal::SearchLatency));
}

#[test]
fn a_hold_that_lasts_too_long_is_not_our_doing() {
    let mut play = Play::learned();
    play.several(2, SLOW, true);
    let held = play.several(70, SLOW, false).iter().filter(|hold| hold.is_some()).count();
    assert_eq!(held, 59, "half an hour of looks");
    assert_eq!(play.several(5, SLOW, true), [None; 5], "that is the usual now");
}

#[test]
fn a_restarted_proxy_and_nonsense_say_nothing() {
    let mut play = Play::learned();
    play.service.proxies.clear();
    // All counters begin anew, and the first look after that has nothing to be compared with.
    assert_eq!(play.look(SLOW, true), None);
    let view = play.look_at(true, None);
    assert!(
        view.readings.iter().all(|reading| reading.signal == Signal::WaitingTasks || reading.now.is_none())
    );
    let mut play = Play::learned();
    let proxy = play.service.proxies.get_mut("proxy").unwrap();
    proxy.searches.count = 5;
    assert_eq!(play.several(1, SLOW, true), [None]);
    // More fast searches than searches.
    let mut play = Play::learned();
    play.pass(USUAL);
    play.service.proxies.get_mut("proxy").unwrap().searches.buckets[8].1 += 1;
    let view = play.look_at(true, None);
    let slow = view.readings.iter().find(|reading| reading.signal == Signal::SlowSearches).unwrap();
    assert_eq!(slow.now, None);
    // A histogram without the bucket, one whose buckets fall, one whose buckets exceed its count.
    for broken in [vec![], vec![(1_000, 0)], vec![(512_000, 3)], vec![(512_000, u64::MAX)]] {
        let mut play = Play::learned();
        play.service.proxies.get_mut("proxy").unwrap().searches.buckets = broken;
        play.seconds += 30;
        let proxy = play.service.proxies.get_mut("proxy").unwrap();
        (proxy.searches.count, proxy.searches.sum_micros) =
            (proxy.searches.count + 100, proxy.searches.sum_micros + 100);
        let view = play.look_at(true, None);
        let slow = view.readings.iter().find(|reading| reading.signal == Signal::SlowSearches).unwrap();
        assert_eq!((slow.now, &view.hold), (None, &None));
    }
}

#[test]
fn few_searches_say_nothing() {
    let mut play = Play::learned();
    let rare = Traffic { searches: 19, milliseconds: 5_000, ..USUAL };
    assert_eq!(play.several(5, rare, true), [None; 5]);
}

#[test]
fn a_blind_guard_blocks_only_where_it_is_required() {
    let mut play = Play::new(GuardSettings::default());
    assert_eq!(play.look_at(true, None).hold, None);
    let mut play = Play::new(GuardSettings { required: true, ..GuardSettings::default() });
    for look in 0..3 {
        play.pass(USUAL);
        assert_eq!(play.look_at(false, None).hold, Some(Reason::GuardBlind), "look {look}");
    }
    assert_eq!(play.look(USUAL, false), None);
    assert_eq!(play.look_at(false, None).hold, Some(Reason::GuardBlind), "nobody searched");
}

#[test]
fn nothing_moves_before_the_usual_is_known_where_it_can_be() {
    let mut play = Play::new(GuardSettings::default());
    let mut holds = Vec::new();
    for _ in 0..5 {
        play.pass(USUAL);
        holds.push(play.look_at(false, None).hold);
    }
    let learning = Some(Reason::GuardLearning);
    // The first look has nothing to be compared with.
    assert_eq!(holds, [None, learning.clone(), learning, None, None]);
    // It was restarted in the middle of a wave, and must not go on before it knows.
    let mut play = Play::new(GuardSettings::default());
    for _ in 0..5 {
        play.pass(SLOW);
        play.look_at(true, None);
    }
    assert_eq!(play.look_at(true, None).hold, None, "nobody searched since");
    play.pass(SLOW);
    assert_eq!(play.look_at(true, None).hold, Some(Reason::GuardLearning));
}

#[test]
fn a_guard_that_is_off_holds_nothing() {
    let mut play = Play::new(GuardSettings { enabled: false, required: true, ..GuardSettings::default() });
    play.several(6, USUAL, false);
    assert_eq!(play.several(5, SLOW, true), [None; 5]);
    assert_eq!(play.look_at(true, Some(Ratio::ONE)).hold, None);
}

#[test]
fn absurd_counters_do_not_overflow() {
    let mut play = Play::new(GuardSettings::default());
    play.pass(USUAL);
    play.look_at(false, None);
    for value in [u64::MAX / 2, u64::MAX - 1, u64::MAX] {
        let proxy = play.service.proxies.get_mut("proxy").unwrap();
        (proxy.asked, proxy.failed, proxy.searches.count) = (value, value, value);
        proxy.searches.sum_micros = value;
        play.service.waiting.insert(NodeId(2), value);
        play.look_at(false, None);
    }
}
