//! The rules of waves: how large they are, and what is made of the relief that they bring.

use crate::config::duration::display;
use crate::config::problem::Findings;
use crate::execute::WaveSettings;
use crate::units::Ratio;

use super::{at_least_one, positive};

/// Checks them.
pub(super) fn check(waves: &WaveSettings, findings: &mut Findings) {
    at_least_one("execute.waves.first", waves.first, findings);
    if waves.largest < waves.first {
        let (largest, first) = (waves.largest, waves.first);
        let message = format!("{largest} is less than execute.waves.first ({first}): write at least that");
        findings.error("execute.waves.largest", message);
    }
    if waves.as_predicted > Ratio::ONE {
        let message = format!(
            "{} is more than is predicted: write a share from 0 to 1, such as 0.5",
            waves.as_predicted
        );
        findings.error("execute.waves.as_predicted", message);
    }
    if waves.no_relief > waves.as_predicted {
        let (none, good) = (waves.no_relief, waves.as_predicted);
        let message = format!("{none} is more than execute.waves.as_predicted ({good}): write at most that");
        findings.error("execute.waves.no_relief", message);
    }
    if waves.rest_limit < waves.rest {
        let (limit, first) = (display(waves.rest_limit), display(waves.rest));
        let message = format!("{limit} is shorter than execute.waves.rest ({first}): write at least that");
        findings.error("execute.waves.rest_limit", message);
    }
    if waves.without_relief != 0 {
        positive("execute.waves.rest", waves.rest, findings);
    }
}
