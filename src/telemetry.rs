//! Logs on stderr, as text or JSON. Errors are logged through [`Chain`], because the JSON formatter keeps an
//! error's own message and drops its causes.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::io::{IsTerminal, stderr};
use std::sync::OnceLock;

use tracing::Subscriber;
use tracing_subscriber::filter::{ParseError, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use crate::config::{LogFormat, LogSettings};

/// Why there are no logs.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is no filter.
    #[error(
        "{origin} is no log filter: write a level such as \"info\", or \"info,milvus_rebalancer::plan=debug\""
    )]
    Filter {
        /// `log.level` or `RUST_LOG`.
        origin: &'static str,
        /// What the parser says.
        #[source]
        source: ParseError,
    },
    /// Somebody in this process logs already.
    #[error("logging cannot be started twice")]
    Started(#[source] TryInitError),
    /// Nothing logs.
    #[error("this process does not log, so there is no level to be changed")]
    NotStarted,
}

/// Starts logging for the process. `RUST_LOG` stands over the settings, as everywhere in Rust.
pub fn init(settings: &LogSettings) -> Result<(), TelemetryError> {
    let from_environment = std::env::var("RUST_LOG").ok().filter(|filter| !filter.is_empty());
    // What NO_COLOR asks for: https://no-color.org
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let colors = stderr().is_terminal() && !no_color;
    let (subscriber, switch) = subscriber(settings, from_environment.as_deref(), colors, stderr)?;
    subscriber.try_init().map_err(TelemetryError::Started)?;
    // Nobody else has started logging, so nobody else has set it.
    drop(SWITCH.set(switch));
    Ok(())
}

/// Changes what is logged by this process; in force until it ends or somebody changes it again.
type Switch = Box<dyn Fn(Targets) -> bool + Send + Sync>;

/// That of this process; empty where nothing logs.
static SWITCH: OnceLock<Switch> = OnceLock::new();

/// Logs from this level on, or by this filter, from now on and until the process ends.
pub fn change_filter(filter: &str) -> Result<(), TelemetryError> {
    let refused = |source| TelemetryError::Filter { origin: "filter", source };
    let parsed: Targets = filter.parse().map_err(refused)?;
    match SWITCH.get() {
        Some(switch) if switch(parsed) => Ok(()),
        _ => Err(TelemetryError::NotStarted),
    }
}

/// What [`init`] installs, for any writer.
pub fn subscriber<W>(
    settings: &LogSettings,
    rust_log: Option<&str>,
    colors: bool,
    writer: W,
) -> Result<(Box<dyn Subscriber + Send + Sync>, Switch), TelemetryError>
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let (filter, origin) = match rust_log {
        Some(filter) => (filter, "RUST_LOG"),
        None => (settings.level.as_str(), "log.level"),
    };
    let filter: Targets = filter.parse().map_err(|source| TelemetryError::Filter { origin, source })?;
    let (filter, handle) = tracing_subscriber::reload::Layer::new(filter);
    let filtered = tracing_subscriber::registry().with(filter);
    let lines = tracing_subscriber::fmt::layer().with_ansi(colors).with_writer(writer);
    let subscriber: Box<dyn Subscriber + Send + Sync> = match settings.format {
        LogFormat::Text => Box::new(filtered.with(lines)),
        LogFormat::Json => Box::new(filtered.with(lines.json().flatten_event(true))),
    };
    Ok((subscriber, Box::new(move |filter| handle.reload(filter).is_ok())))
}

/// An error with all its causes in one line: "a: b: c". A cause whose text the line already ends with is left
/// out, because some libraries repeat their source. Control characters are [`shown`].
///
/// ```
/// # use milvus_rebalancer::telemetry::Chain;
/// # let error = std::io::Error::other("disk full");
/// tracing::warn!(error = %Chain(&error), "the journal cannot be written");
/// ```
pub struct Chain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = self.0.to_string();
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let text = error.to_string();
            if !line.ends_with(&text) {
                line.push_str(": ");
                line.push_str(&text);
            }
            cause = error.source();
        }
        f.write_str(&shown(&line))
    }
}

/// Text with its control characters shown instead of obeyed: names and messages come from servers, and a
/// terminal would take them for commands.
pub fn shown(text: &str) -> Cow<'_, str> {
    if !text.chars().any(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot poll")]
    struct Outer(#[source] Middle);

    #[derive(Debug, thiserror::Error)]
    #[error("call failed: {0}")]
    struct Middle(#[source] io::Error);

    fn error() -> Outer {
        Outer(Middle(io::Error::other("connection refused")))
    }

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, level: &str, rust_log: Option<&str>) -> String {
        let captured = Captured::default();
        let writer = captured.clone();
        let settings = LogSettings { format, level: level.to_owned() };
        let (subscriber, _) = subscriber(&settings, rust_log, false, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(error = %Chain(&error()), node = 7, "turn failed");
            tracing::debug!("details");
        });
        let bytes = captured.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn causes_are_joined_and_not_repeated() {
        assert_eq!(Chain(&error()).to_string(), "cannot poll: call failed: connection refused");
    }

    #[test]
    fn text_keeps_the_causes() {
        let text = logged(LogFormat::Text, "info", None);
        assert!(text.contains("turn failed"), "{text}");
        assert!(text.contains("cannot poll: call failed: connection refused"), "{text}");
        assert!(!text.contains("details"), "{text}");
    }

    #[test]
    fn json_keeps_the_causes() {
        let text = logged(LogFormat::Json, "info", None);
        let line: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
        assert_eq!(line["error"], "cannot poll: call failed: connection refused");
        assert_eq!(line["message"], "turn failed");
        assert_eq!(line["level"], "WARN");
        assert_eq!(line["node"], 7);
    }

    #[test]
    fn rust_log_stands_over_the_settings() {
        assert!(logged(LogFormat::Text, "off", Some("debug")).contains("details"));
        assert_eq!(logged(LogFormat::Text, "debug", Some("off")), "");
    }

    #[test]
    fn a_wrong_filter_says_where_it_was_set() {
        let settings = LogSettings { format: LogFormat::Text, level: "info".to_owned() };
        let error = subscriber(&settings, Some("a=b=c"), false, io::sink).err().unwrap();
        assert!(Chain(&error).to_string().starts_with("RUST_LOG is no log filter"), "{error}");
    }

    #[test]
    fn control_characters_of_a_server_do_not_reach_the_terminal() {
        let captured = Captured::default();
        let writer = captured.clone();
        let settings = LogSettings::default();
        let (subscriber, _) = subscriber(&settings, None, false, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(error = %Chain(&io::Error::other("evil\u{1b}[2Jtext")), "turn failed");
        });
        let text = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
        assert!(text.contains("evil") && !text.contains('\u{1b}'), "{text:?}");
    }
}
