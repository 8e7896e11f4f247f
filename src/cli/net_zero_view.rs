//! The net-zero ledger in words, for `plan` and for the end of a demo: never a share without its moves and the time
//! out of band.

use std::time::Duration;

use crate::config::duration;
use crate::model::{NetZero, NetZeroShare};

/// One line for everybody who moved something, one for two who undo each other's work, one for the band; none when
/// nothing is known.
pub fn lines(net_zero: &NetZero) -> Vec<String> {
    let NetZero { daemon, manual, foreign, all, band } = net_zero;
    let mut lines = Vec::new();
    for (who, share) in [("the daemon", daemon), ("by hand", manual), ("somebody else", foreign)] {
        if share.moves > 0 {
            lines.push(format!("{who}: {}", share_in_words(share)));
        }
    }
    let apart = daemon.undone.saturating_add(manual.undone).saturating_add(foreign.undone);
    if all.undone > apart {
        lines.push(format!("together, undoing each other's work: {}", share_in_words(all)));
    }
    if band.observed > Duration::ZERO {
        let spoken = |time: Duration| duration::display(Duration::from_secs(time.as_secs()));
        lines.push(format!(
            "some node above its band: {} of the {} that were seen",
            spoken(band.out_of_band),
            spoken(band.observed)
        ));
    }
    lines
}

/// "9 moves, 25.0 GiB, of which 12 % came back", and the upper bound where it tells something else.
fn share_in_words(share: &NetZeroShare) -> String {
    let plural = if share.moves == 1 { "" } else { "s" };
    let (undone, cancelled) = (share.ratio().percent(), share.cancelled_ratio().percent());
    let bound = if cancelled == undone {
        String::new()
    } else {
        format!(" (at most {cancelled}, swaps and detours included)")
    };
    format!("{} move{plural}, {}, of which {undone} came back{bound}", share.moves, share.bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::BandTime;
    use crate::units::Bytes;

    fn share(moves: u64, bytes: u64, undone: u64, cancelled: u64) -> NetZeroShare {
        NetZeroShare {
            moves,
            bytes: Bytes(bytes),
            undone_moves: 0,
            undone: Bytes(undone),
            cancelled: Bytes(cancelled),
        }
    }

    #[test]
    fn nothing_known_is_nothing_said() {
        assert!(lines(&NetZero::default()).is_empty());
    }

    #[test]
    fn a_share_comes_with_its_moves_and_the_time_out_of_band() {
        let net_zero = NetZero {
            daemon: share(1, 1024, 0, 0),
            foreign: share(4, 4096, 2048, 3072),
            all: share(5, 5120, 4096, 4096),
            band: BandTime {
                out_of_band: Duration::from_secs(90),
                observed: Duration::from_millis(3_600_900),
            },
            ..NetZero::default()
        };
        assert_eq!(
            lines(&net_zero),
            [
                "the daemon: 1 move, 1.0 KiB, of which 0 % came back",
                "somebody else: 4 moves, 4.0 KiB, of which 50 % came back (at most 75 %, swaps and detours included)",
                "together, undoing each other's work: 5 moves, 5.0 KiB, of which 80 % came back",
                "some node above its band: 1m30s of the 1h that were seen",
            ]
        );
    }
}
