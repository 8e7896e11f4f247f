//! Recordings are thought through again: the recorded options give the recorded plans to the last figure, over restarts
//! and reloads, and other options are compared with them.

mod exporting;
mod files;
mod reproducing;
mod world;
