//! What the record that instances share says while a call is on its way out: whoever follows must find every intent there
//! from before the call until its end, whatever else is written meanwhile.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use milvus_rebalancer::execute::Executor;
use milvus_rebalancer::lease::{Election, Leadership, LeaseError, SharedOrders, SharedRecord};
use milvus_rebalancer::observe::SeamFuture;
use milvus_rebalancer::units::Bytes;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use super::fake::{Fake, admitted, drive, finish, let_pass, unlimited};

/// An election whose first write is answered when the test says so.
struct Scripted {
    state: watch::Sender<Leadership>,
    written: Mutex<Vec<SharedRecord>>,
    answers: Semaphore,
}

impl Scripted {
    fn new() -> Arc<Scripted> {
        let state = watch::Sender::new(leading(1));
        Arc::new(Scripted { state, written: Mutex::default(), answers: Semaphore::new(0) })
    }

    /// Segments of open moves, record by record.
    fn open(&self) -> Vec<Vec<i64>> {
        let open = |record: &SharedRecord| record.open.iter().map(|one| one.movement.segment.0).collect();
        self.written.lock().unwrap().iter().map(open).collect()
    }
}

impl Election for Scripted {
    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.state.subscribe()
    }

    fn write<'a>(&'a self, record: &'a SharedRecord) -> SeamFuture<'a, Result<(), LeaseError>> {
        Box::pin(async move {
            let number = {
                let mut written = self.written.lock().unwrap();
                written.push(record.clone());
                written.len()
            };
            if number == 1 {
                drop(self.answers.acquire().await);
            }
            Ok(())
        })
    }

    fn read(&self) -> SeamFuture<'_, Result<Option<SharedRecord>, LeaseError>> {
        Box::pin(async { Ok(self.written.lock().unwrap().last().cloned()) })
    }

    fn run(&self) -> SeamFuture<'_, ()> {
        Box::pin(std::future::pending())
    }

    fn resign(&self) -> SeamFuture<'_, ()> {
        Box::pin(async {})
    }
}

fn leading(term: i64) -> Leadership {
    Leadership::Leading { term, until: Instant::now() + Duration::from_secs(3_600) }
}

/// A leader with one move whose intent is on its way to the shared record.
async fn with_an_intent_under_way(fake: &Arc<Fake>, election: &Arc<Scripted>) -> Executor {
    let mut executor = fake.executor(unlimited());
    executor.lead_by(election.clone());
    executor.keep_up(Duration::ZERO).await;
    executor.offer(vec![admitted(101, 2)], Bytes(1_000));
    let work = drive(&mut executor, |_| false);
    let begun = async {
        while election.open().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = work => unreachable!("it never ends"),
        () = begun => {}
    }
    executor
}

#[tokio::test(start_paused = true)]
async fn what_a_turn_shares_keeps_the_intent_that_is_on_its_way() {
    let (fake, election) = (Fake::new(1, 2), Scripted::new());
    let mut executor = with_an_intent_under_way(&fake, &election).await;
    assert_eq!((election.open(), fake.calls().len()), (vec![vec![101]], 0));
    // A turn comes in between.
    executor.share(SharedOrders::default()).await;
    assert_eq!(election.open(), [[101], [101]], "else whoever follows would not know of the call");
    election.answers.add_permits(1);
    finish(&mut executor).await;
    assert_eq!(fake.calls(), [(1, 2, vec![101])]);
    executor.share(SharedOrders::default()).await;
    let last = election.written.lock().unwrap().last().cloned().unwrap();
    assert_eq!((last.open.len(), last.ended.len()), (0, 1), "it ends there as well");
}

#[tokio::test(start_paused = true)]
async fn an_intent_of_an_earlier_leadership_is_not_sent_in_a_later_one() {
    let (fake, election) = (Fake::new(1, 2), Scripted::new());
    let mut executor = with_an_intent_under_way(&fake, &election).await;
    election.state.send_replace(leading(2));
    executor.keep_up(Duration::ZERO).await;
    assert_eq!(executor.leadership_refusal(), None, "it leads again");
    election.answers.add_permits(1);
    let_pass(&mut executor, Duration::from_secs(600)).await;
    assert_eq!(fake.calls(), [], "another one may have led meanwhile, and looked after it");
    assert_eq!(fake.journalled().into_values().collect::<Vec<_>>(), ["superseded"]);
    executor.offer(vec![admitted(101, 2)], Bytes(1_000));
    finish(&mut executor).await;
    assert_eq!((election.open(), fake.calls()), (vec![vec![101], vec![101]], vec![(1, 2, vec![101])]));
}
