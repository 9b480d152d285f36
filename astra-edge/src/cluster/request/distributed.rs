//! A request that can run on a plan, or on this device only.

use std::sync::Arc;
use std::time::Duration;

use super::base::RequestBase;
use super::collected::{Collected, set_aside};
use super::error::RequestError;
use crate::cluster::device::Device;
use crate::cluster::session::cancel::Abort;
use crate::cluster::session::set_up::ActivePlan;

/// A request that can run on a plan, or on this device only.
pub(crate) trait DistributedRequest: Sync {
    /// Its answer.
    type Reply: Send;

    /// What it has in common with requests of other kinds.
    fn base(&self) -> &RequestBase;

    /// One attempt on a plan that every member has joined.
    fn run(
        &self,
        device: &Arc<Device>,
        plan: &mut ActivePlan,
    ) -> impl Future<Output = Result<Attempted<Self::Reply>, RequestError>> + Send;

    /// The answer of this device only, which the caller has engaged; `why` it is the only one goes into the report.
    fn run_local(
        &self,
        device: &Arc<Device>,
        why: String,
    ) -> impl Future<Output = Result<Self::Reply, RequestError>> + Send;
}

/// How an attempt on a plan ended.
pub(crate) enum Attempted<R> {
    Done {
        reply: R,
        /// Whether nothing was lost: the plan can be used again.
        intact: bool,
        /// From the plan's readiness to the last share; `None` where the client did not wait for the members.
        took: Option<Duration>,
    },
    Abort(Abort),
}

impl<R> Attempted<R> {
    /// The members have replied. Those whose share did not come are set aside.
    pub(crate) fn done(
        device: &Device,
        plan: &ActivePlan,
        collected: &Collected,
        reply: R,
        took: Option<Duration>,
    ) -> Self {
        set_aside(device, plan, collected);
        let intact = collected.is_intact();
        Self::Done {
            reply,
            intact,
            took,
        }
    }
}
