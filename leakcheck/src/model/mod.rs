//! The data everything else speaks: snapshots, sites, counters, series.
//!
//! Pure values: no input or output, no clock, no globals, and no operation that can fail. Every input (a recorder's
//! snapshot, a `/proc` sample, a V8 profile) becomes these types, and the analysis knows nothing else.

mod counters;
mod fold;
mod frame;
mod plain_name;
mod series;
mod short_name;
mod site;
mod snapshot;

pub use counters::{Amount, Counters, SizeSummary};
pub use fold::{FoldedFrame, FoldedStack, Origin, fold};
pub(crate) use fold::{is_mute, normal_name};
pub use frame::{Frame, FrameId, Function, Module, ModuleId, StackId, StackNode};
pub use plain_name::plain_name;
#[cfg(test)]
pub(crate) use series::made_up_kernel_series;
pub use series::{BeforeFall, Moment, Point, Series, SiteSeries};
pub use short_name::{is_short_for, is_short_name};
pub use site::{ScopeId, Site, SiteId, SiteKey, Survivors, ThreadId};
pub use snapshot::{
    Generation, Losses, Mode, Process, Reason, Recording, Resident, Snapshot, Source, TimelinePoint, Usage,
};
