//! The admin API: what the daemon knows, for people and their programs, and what they may order. Orders go through the
//! journal, as those of the command line do; the control loop takes no input from here.

mod access;
mod answer;
mod body;
pub mod events;
pub mod explain;
mod listener;
pub mod orders;
mod page;
mod paging;
mod problem;
mod rate;
mod read;
mod read_journal;
mod routes;
mod settings;
mod shared;
pub(crate) mod tls;
pub mod views;
mod what_if;

pub use access::{Access, Peer, Role, USER_HEADER};
pub(crate) use body::read_anything;
pub use explain::ExplanationsView;
pub use listener::{AdminError, AdminListener};
pub use paging::Page;
pub use problem::Problem;
pub use routes::{documentation, router};
pub use settings::{AdminSettings, Place};
pub use shared::{Cache, Shared};
pub use tls::{AdminTlsError, AdminTlsSettings, Fingerprint};
pub use what_if::{SideView, WhatIfView};
