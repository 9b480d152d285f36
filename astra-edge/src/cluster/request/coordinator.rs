//! The coordinator of a device's requests: their limits, their turns, and what is kept from one to the next.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, MutexGuard, Semaphore};

use crate::cluster::device::{Device, Engaged};
use crate::cluster::generation::conversation::CachedConversation;
use crate::cluster::placement::latency_history::LatencyHistory;
use crate::cluster::request::base::RequestLimits;
use crate::cluster::request::context::RequestContext;
use crate::cluster::request::error::RequestError;
use crate::cluster::request::rung_choice::RungChoice;
use crate::cluster::session::set_up::ActivePlan;
use crate::config::RequestDefaults;
use crate::job::MAX_DEADLINE;

/// Plans that are kept for the next request: one for each length of a text.
pub const PLANS: usize = 4;

/// Runs requests, one at a time.
pub struct Coordinator {
    device: Arc<Device>,
    defaults: RequestDefaults,
    rung_choice: Arc<RungChoice>,
    state: Mutex<CoordinatorState>,
    /// Images decoded at the same time: a single one can take hundreds of megabytes.
    pub(crate) decoding: Arc<Semaphore>,
}

/// State kept from one request to the next.
#[derive(Default)]
pub(crate) struct CoordinatorState {
    /// Least recently used first.
    pub(crate) plans: Vec<ActivePlan>,
    pub(crate) epoch: u16,
    pub(crate) latency_history: LatencyHistory,
    pub(crate) conversation: Option<CachedConversation>,
}

impl Coordinator {
    /// A coordinator without plans.
    pub fn new(device: Arc<Device>, defaults: RequestDefaults) -> Self {
        let rung_choice = Arc::new(RungChoice::new(&defaults));
        Self::with(device, defaults, rung_choice)
    }

    /// A coordinator with the same defaults for the device on another link.
    pub fn moved_to(&self, device: Arc<Device>) -> Self {
        Self::with(device, self.defaults, Arc::clone(&self.rung_choice))
    }

    fn with(device: Arc<Device>, defaults: RequestDefaults, rung_choice: Arc<RungChoice>) -> Self {
        Self {
            device,
            defaults,
            rung_choice,
            state: Mutex::default(),
            decoding: Arc::new(Semaphore::new(1)),
        }
    }

    /// The device.
    pub fn device(&self) -> &Arc<Device> {
        &self.device
    }

    /// The limits of a request that arrives now, with the defaults where it leaves an option open.
    ///
    /// # Errors
    /// The bundle has no such rung.
    pub(crate) fn limits(&self, context: &RequestContext) -> Result<RequestLimits, RequestError> {
        let options = &context.options;
        let arrived = Instant::now();
        let time = match options.deadline_ms {
            0 => self.defaults.deadline,
            given => Duration::from_millis(given.into()),
        }
        .min(MAX_DEADLINE);
        let max_members = match options.max_members {
            0 => self.defaults.max_members,
            given => given.into(),
        };
        let devices = self.devices(context, max_members);
        let rung = self
            .rung_choice
            .rung(self.device.bundle(), options.rung, devices)?;
        Ok(RequestLimits {
            arrived,
            deadline: arrived + time,
            rung,
            max_members,
            fixed_members: options.max_members > 0 || self.defaults.all_members,
        })
    }

    /// Devices that a request can have at this moment.
    fn devices(&self, context: &RequestContext, max_members: usize) -> usize {
        let most = match max_members {
            0 => usize::MAX,
            given => given,
        };
        match &context.tokens_per_member {
            Some(tokens) => tokens.len(),
            None => (1 + self.device.roster().usable().len()).min(most),
        }
    }

    /// Waits for a request's turn.
    ///
    /// # Errors
    /// The client is `gone` or the deadline passes before.
    pub(crate) async fn turn(
        &self,
        limits: &RequestLimits,
        gone: impl Future<Output = ()>,
    ) -> Result<MutexGuard<'_, CoordinatorState>, RequestError> {
        let state = tokio::time::timeout_at(limits.deadline.into(), self.state.lock());
        tokio::select! {
            biased;
            () = gone => Err(RequestError::Gone),
            state = state => state.map_err(|_| RequestError::Deadline(limits.time())),
        }
    }

    pub(crate) async fn engage(&self, until: Instant) -> Option<Engaged> {
        self.device.engage(until).await
    }
}
