//! The one source of time: wall time for people and files, monotonic time for durations. Read once a turn.

use jiff::Timestamp;
use tokio::time::Instant;

use crate::units::Moment;

/// Tells the time. Tests and the simulator bring their own wall clock; monotonic time is always tokio's.
pub struct Clock {
    started: Instant,
    wall: Box<dyn Fn() -> Timestamp + Send + Sync>,
}

impl Clock {
    /// The machine's clock.
    #[allow(clippy::disallowed_methods)] // the one place that may
    pub fn system() -> Clock {
        Clock::with_wall(Timestamp::now)
    }

    /// A clock whose calendar is somebody else's.
    pub fn with_wall(wall: impl Fn() -> Timestamp + Send + Sync + 'static) -> Clock {
        Clock { started: Instant::now(), wall: Box::new(wall) }
    }

    /// Both readings.
    pub fn read(&self) -> Moment {
        Moment { wall: (self.wall)(), monotonic: self.started.elapsed() }
    }
}
