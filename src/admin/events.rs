//! What happens, as it happens: a stream of server-sent events. A reader that is slow misses nothing that ended and
//! sees every turn's last state, because each event is made from what the loop shows, not from a queue.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::Stream;
use futures::stream::unfold;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use super::shared::Shared;
use super::views::{OperationView, ReasonView, StatusView, WaveView};
use crate::config::Mode;
use crate::control_loop::LoopState;
use crate::execute::operation::OperationId;

/// How often a silent stream shows that it is alive: proxies cut connections after a minute.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The end of a turn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TurnEvent {
    /// Turns since the start.
    pub turn: u64,
    /// When the cluster was looked at.
    pub taken_at: Option<Timestamp>,
    /// The state in a word, as `status` has it.
    pub state: String,
    /// The state in a sentence.
    pub verdict: String,
    /// Overloaded nodes.
    pub overloaded: usize,
    /// Moves in the plan.
    pub moves: usize,
    /// Moves on their way.
    pub open_operations: usize,
    /// What holds us back.
    pub limited_by: Option<ReasonView>,
}

/// An event with its name.
#[derive(Clone, Debug, PartialEq)]
pub enum Happening {
    /// A turn ended.
    Turn(Box<TurnEvent>),
    /// A move was sent, changed its state or ended.
    Operation(Box<OperationView>),
    /// A wave was judged.
    Wave(Box<WaveView>),
}

/// What a reader has been told.
#[derive(Debug, Default)]
pub struct Told {
    turns: Option<u64>,
    ended: u64,
    waves: u64,
    open: BTreeMap<OperationId, &'static str>,
}

impl Told {
    /// For a reader that comes now: what ended before is no news.
    pub fn up_to(state: &LoopState) -> Told {
        Told { turns: None, ended: state.ended_count, waves: state.waves_judged, open: BTreeMap::new() }
    }

    /// What is new.
    pub fn news(&mut self, state: &LoopState, mode: Mode) -> Vec<Happening> {
        let mut news = Vec::new();
        for operation in state.ended_since(self.ended) {
            news.push(Happening::Operation(Box::new(OperationView::from(operation))));
        }
        self.ended = state.ended_count;
        for operation in &state.open {
            let code = operation.state.code();
            if self.open.get(&operation.id) != Some(&code) {
                news.push(Happening::Operation(Box::new(OperationView::from(operation))));
            }
        }
        self.open = state.open.iter().map(|operation| (operation.id, operation.state.code())).collect();
        if self.waves != state.waves_judged {
            self.waves = state.waves_judged;
            let wave = state.last_wave.as_ref().map(|wave| WaveView::from(wave.record()));
            news.extend(wave.map(|wave| Happening::Wave(Box::new(wave))));
        }
        if self.turns != Some(state.turns) {
            self.turns = Some(state.turns);
            news.push(Happening::Turn(Box::new(turn(state, mode))));
        }
        news
    }
}

fn turn(state: &LoopState, mode: Mode) -> TurnEvent {
    let status = StatusView::of(state, mode, None, &[]);
    TurnEvent {
        turn: state.turns,
        taken_at: status.taken_at,
        state: status.state,
        verdict: status.verdict,
        overloaded: status.overloaded,
        moves: status.plan.moves,
        open_operations: status.open_operations,
        limited_by: status.limited_by,
    }
}

impl Happening {
    fn event(&self) -> Event {
        let (name, json) = match self {
            Happening::Turn(turn) => ("turn", serde_json::to_string(turn)),
            Happening::Operation(operation) => ("operation", serde_json::to_string(operation)),
            Happening::Wave(wave) => ("wave", serde_json::to_string(wave)),
        };
        Event::default().event(name).data(json.unwrap_or_default())
    }
}

/// A reader.
struct Reader {
    state: watch::Receiver<LoopState>,
    told: Told,
    mode: Mode,
    waiting: VecDeque<Event>,
    stop: CancellationToken,
}

/// Turns, operations and waves as they happen. The first event is the state as it is.
#[utoipa::path(get, path = "/v1/events", tag = "state",
    responses((status = 200, content_type = "text/event-stream", body = String,
               description = "Events `turn` (TurnEvent), `operation` (OperationView) and `wave` (WaveView), each with its JSON as data.")))]
pub(super) async fn events(
    State(shared): State<Arc<Shared>>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let state = shared.state.clone();
    let told = Told::up_to(&state.borrow());
    let reader =
        Reader { state, told, mode: shared.mode, waiting: VecDeque::new(), stop: shared.stop.clone() };
    Sse::new(unfold(reader, next)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
}

/// The next event, when there is one; `None` when the process ends.
async fn next(mut reader: Reader) -> Option<(Result<Event, Infallible>, Reader)> {
    loop {
        if let Some(event) = reader.waiting.pop_front() {
            return Some((Ok(event), reader));
        }
        let news = reader.told.news(&reader.state.borrow_and_update(), reader.mode);
        reader.waiting.extend(news.iter().map(Happening::event));
        if !reader.waiting.is_empty() {
            continue;
        }
        tokio::select! {
            () = reader.stop.cancelled() => return None,
            changed = reader.state.changed() => changed.ok()?,
        }
    }
}
