//! Which journal a command uses that runs beside the daemon. The daemon of the systemd unit has its journal in its
//! state directory, of which a shell knows nothing: with another one, its moves would look foreign to the daemon.

use std::fmt;
use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::settings::{FILE_NAME, state_directory};
use super::{DaemonLock, JournalSettings};

/// Where the unit's `StateDirectory=` is. With `DynamicUser=` the first is a link to the second, which only root may
/// enter.
const SERVICE_FOLDERS: [&str; 2] = ["/var/lib/milvus-rebalancer", "/var/lib/private/milvus-rebalancer"];

/// How another journal is named.
const HOW_TO_NAME: &str = "name another with journal.path in the configuration, or with the environment variable \
                           MILVUS_REBALANCER__JOURNAL__PATH";

/// The journal to use, and why this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// The settings with its path.
    pub settings: JournalSettings,
    /// Why.
    pub choice: Choice,
}

/// Why a journal is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Somebody named it.
    Configured,
    /// The systemd service has it.
    Service,
    /// Nobody named one; the daemon of the systemd service has none, or none that this user may write.
    Default {
        /// The one that this user may not write.
        forbidden: Option<PathBuf>,
    },
}

impl Located {
    /// For a command beside a daemon that may run as a service on this machine.
    pub fn beside_the_daemon(settings: &JournalSettings) -> Located {
        let is_configured = *settings.path != *JournalSettings::default().path || state_directory().is_some();
        Located::among(settings, is_configured, &SERVICE_FOLDERS.map(Path::new))
    }

    /// The same with the state directories to look into, and whether somebody named the path.
    pub fn among(settings: &JournalSettings, is_configured: bool, folders: &[&Path]) -> Located {
        let default =
            |forbidden| Located { settings: settings.clone(), choice: Choice::Default { forbidden } };
        if is_configured {
            return Located { settings: settings.clone(), choice: Choice::Configured };
        }
        // Somebody started a daemon here by hand, and it is at work.
        if DaemonLock::holder(&settings.path).is_some() {
            return default(None);
        }
        let mut forbidden = None;
        for path in folders.iter().map(|folder| folder.join(FILE_NAME)) {
            match OpenOptions::new().read(true).write(true).open(&path) {
                Ok(_) => {
                    let settings = JournalSettings { path, ..settings.clone() };
                    return Located { settings, choice: Choice::Service };
                }
                Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                    forbidden.get_or_insert(path);
                }
                // There is none, or it is something else altogether.
                Err(_) => {}
            }
        }
        default(forbidden)
    }
}

impl fmt::Display for Located {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.settings.path.display();
        match &self.choice {
            Choice::Configured => write!(f, "using the journal {path}, as configured"),
            Choice::Service => write!(f, "using the journal {path} of the systemd service; {HOW_TO_NAME}"),
            Choice::Default { forbidden: None } => {
                write!(f, "using the journal {path}, because none is configured; {HOW_TO_NAME}")
            }
            Choice::Default { forbidden: Some(other) } => write!(
                f,
                "using the journal {path}: this user may not write {}, that of the systemd service, whose daemon will \
                 take these moves for somebody else's; use sudo, or {HOW_TO_NAME}",
                other.display()
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Journal;

    /// A folder to work in, and one of a service, with or without a journal.
    struct Machine {
        here: tempfile::TempDir,
        service: tempfile::TempDir,
    }

    impl Machine {
        fn new() -> Machine {
            Machine { here: tempfile::tempdir().unwrap(), service: tempfile::tempdir().unwrap() }
        }

        fn settings(&self) -> JournalSettings {
            JournalSettings { path: self.here.path().join(FILE_NAME), ..JournalSettings::default() }
        }

        fn service_journal(&self) -> PathBuf {
            self.service.path().join(FILE_NAME)
        }

        fn with_service_journal(self) -> Machine {
            let settings = JournalSettings { path: self.service_journal(), ..JournalSettings::default() };
            drop(Journal::open(&settings, jiff::Timestamp::UNIX_EPOCH).unwrap());
            self
        }

        fn located(&self, is_configured: bool) -> Located {
            let missing = self.service.path().join("missing");
            Located::among(&self.settings(), is_configured, &[&missing, self.service.path()])
        }
    }

    #[test]
    fn the_service_is_found_when_nobody_named_a_path() {
        let machine = Machine::new().with_service_journal();
        let located = machine.located(false);
        assert_eq!(
            (located.settings.path.clone(), &located.choice),
            (machine.service_journal(), &Choice::Service)
        );
        assert_eq!(located.settings.keep, machine.settings().keep);
        assert!(located.to_string().contains("MILVUS_REBALANCER__JOURNAL__PATH"), "{located}");
        assert_eq!(
            machine.located(true).settings,
            machine.settings(),
            "what is configured is not second-guessed"
        );
    }

    #[test]
    fn without_a_service_it_is_the_default_and_says_so() {
        let machine = Machine::new();
        let located = machine.located(false);
        assert_eq!(located.settings, machine.settings());
        assert_eq!(located.choice, Choice::Default { forbidden: None });
        let text = located.to_string();
        assert!(text.contains(&machine.settings().path.display().to_string()), "{text}");
        assert!(text.contains("journal.path"), "{text}");
        assert!(!machine.service_journal().exists(), "looking makes nothing");
    }

    #[test]
    fn a_daemon_that_runs_here_is_meant_before_the_service() {
        let machine = Machine::new().with_service_journal();
        let lock = DaemonLock::acquire(&machine.settings().path).unwrap();
        assert_eq!(machine.located(false).settings, machine.settings());
        drop(lock);
        assert_eq!(machine.located(false).choice, Choice::Service);
    }

    #[test]
    fn a_folder_in_place_of_the_file_is_no_journal() {
        let machine = Machine::new();
        std::fs::create_dir(machine.service_journal()).unwrap();
        assert_eq!(machine.located(false).choice, Choice::Default { forbidden: None });
    }

    #[test]
    fn what_this_user_may_not_write_is_named() {
        use std::os::unix::fs::PermissionsExt;
        let machine = Machine::new().with_service_journal();
        let readable = std::fs::Permissions::from_mode(0o400);
        std::fs::set_permissions(machine.service_journal(), readable).unwrap();
        let located = machine.located(false);
        if OpenOptions::new().write(true).open(machine.service_journal()).is_ok() {
            // Root writes whatever the permissions say.
            assert_eq!(located.choice, Choice::Service);
        } else {
            assert_eq!(located.choice, Choice::Default { forbidden: Some(machine.service_journal()) });
        }
        let settings = machine.settings();
        let choice = Choice::Default { forbidden: Some(machine.service_journal()) };
        let text = Located { settings, choice }.to_string();
        assert!(text.contains("use sudo") && text.contains("journal.path"), "{text}");
    }
}
