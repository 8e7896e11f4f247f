//! What an election makes known of who leads: told once in the log, and to whoever watches.

use tokio::sync::watch;
use tokio::time::Instant;

use super::election::Leadership;

/// The current state, for everybody to see.
pub(super) struct Announcement(watch::Sender<Leadership>);

impl Announcement {
    /// Nothing is known yet, for this reason.
    pub fn new(cause: &str) -> Announcement {
        Announcement(watch::Sender::new(Leadership::Unknown { cause: cause.to_owned() }))
    }

    /// To watch it.
    pub fn state(&self) -> watch::Receiver<Leadership> {
        self.0.subscribe()
    }

    /// This instance leads until then.
    pub fn leads(&self, term: i64, until: Instant) {
        self.0.send_replace(Leadership::Leading { term, until });
    }

    /// Another one leads.
    pub fn follows(&self, leader: &str) {
        let state = Leadership::Following { leader: Some(leader.to_owned()) };
        if self.is_news(state) {
            tracing::info!(leader, "another instance leads");
        }
    }

    /// Nobody knows who leads.
    pub fn is_unknown(&self, cause: String) {
        if self.is_news(Leadership::Unknown { cause: cause.clone() }) {
            tracing::warn!(error = cause, "nothing is known of who leads; nothing is moved");
        }
    }

    /// This instance ends its leadership of its own accord.
    pub fn steps_down(&self) {
        self.0.send_replace(Leadership::Unknown { cause: "this instance has stepped down".to_owned() });
    }

    fn is_news(&self, news: Leadership) -> bool {
        self.0.send_if_modified(|state| {
            let is_news = *state != news;
            if is_news {
                *state = news;
            }
            is_news
        })
    }
}
