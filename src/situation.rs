//! A situation: everything that a plan follows from, as one value. It can be looked up in a live cluster, read from a
//! file, and changed to ask "what if"; the same situation gives the same plan, byte for byte.

pub mod curve;
pub mod file;
pub mod milvus;
pub mod what_if;

use crate::model::PlanningInput;
use crate::plan;
use crate::policy::{self, Assessment, Directive, PolicySettings};
use crate::turn::{self, Decision};

/// Everything that the plan of a single look follows from.
#[derive(Clone, Debug, PartialEq)]
pub struct Situation {
    /// What policies, planner and gates look at.
    pub input: PlanningInput,
    /// The policies as configured.
    pub policies: PolicySettings,
    /// What must be beside what the policies say.
    pub directives: Vec<Directive>,
}

impl Situation {
    /// The plan and all that belongs to it. One look knows no history, so every node above its band counts as overloaded
    /// at once.
    pub fn decide(&self) -> Decision {
        let assessment = self.assess();
        let (decision, _) =
            turn::decide(self.input.clone(), assessment, &plan::plan, turn::Aftermath::default());
        let snapshot_digest = decision.snapshot.digest();
        Decision { snapshot_digest, ..decision }
    }

    /// What the policies make of it.
    pub fn assess(&self) -> Assessment {
        let policies = policy::registry(&self.policies.for_one_look());
        let mut assessment = turn::assess(&policies, &self.input);
        assessment.directives.extend(self.directives.iter().cloned());
        assessment
    }
}
