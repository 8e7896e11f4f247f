//! What the process tells its caller.

use std::process::ExitCode;

/// Outcome of a command. Usage errors (2) are clap's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done,
    /// The configuration or the input is wrong.
    WrongInput,
    /// Milvus cannot be reached.
    Unreachable,
    /// Not everything was moved.
    NotEverythingMoved,
    /// The daemon broke off by itself; starting it again may help.
    BrokeOff,
    /// The daemon that was asked is not well, or does not answer.
    Unwell,
}

impl Exit {
    /// The number, as the help lists it.
    pub fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::WrongInput => 1,
            Exit::Unreachable => 3,
            Exit::NotEverythingMoved => 4,
            Exit::BrokeOff => 5,
            Exit::Unwell => 6,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}
