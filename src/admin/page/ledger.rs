//! The net-zero ledger of the page: who moved how much within a day, and how much of that was for nothing.

use super::figures::bytes;
use crate::cli::net_zero_view;
use crate::model::{NetZero, NetZeroShare};

/// One mover's day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LedgerRow {
    pub(super) who: &'static str,
    pub(super) moves: u64,
    pub(super) bytes: String,
    pub(super) undone: String,
    /// The same in per cent, for a bar.
    pub(super) undone_width: String,
}

/// The ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ledger {
    pub(super) rows: Vec<LedgerRow>,
    /// The time out of band.
    pub(super) band: String,
}

impl Ledger {
    pub(super) fn of(net_zero: &NetZero) -> Ledger {
        let movers = [
            ("the daemon", &net_zero.daemon),
            ("by hand", &net_zero.manual),
            ("somebody else", &net_zero.foreign),
            ("together", &net_zero.all),
        ];
        // The same words as the command line's, of which the last line is about the band.
        let band = net_zero_view::lines(net_zero).pop().filter(|line| line.starts_with("some node"));
        Ledger {
            rows: movers.into_iter().map(|(who, share)| row(who, share)).collect(),
            band: band.unwrap_or_default(),
        }
    }
}

fn row(who: &'static str, share: &NetZeroShare) -> LedgerRow {
    LedgerRow {
        who,
        moves: share.moves,
        bytes: bytes(share.bytes.0),
        undone: share.ratio().percent().to_string(),
        undone_width: super::figures::place((share.ratio().decimal() * 100.0).min(100.0)),
    }
}
