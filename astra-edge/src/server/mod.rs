//! Control messages of clients and other devices in, replies out: one handler for each kind.

mod image;
mod member;
mod plan;
mod reply;
mod text;

use std::sync::Arc;
use std::time::Duration;

use astra_wire::{Control, FrameError, Reason, RequestOptions};
use tokio::sync::{Semaphore, mpsc, oneshot};

use self::reply::{Replies, parse_shares};
use crate::cluster::member::halo;
use crate::cluster::request::admission::{Admission, MAX_REQUESTS};
use crate::cluster::request::client_handle::ClientHandle;
use crate::cluster::request::context::RequestContext;
use crate::cluster::request::coordinator::Coordinator;
use crate::cluster::request::image::ImageRequest;
use crate::link::{ByteBudget, IncomingRequest, Intake};
use crate::text::TextService;

/// What requests are answered with.
#[derive(Clone)]
pub struct Services {
    /// Text requests, for bundles of text.
    pub text: Option<Arc<TextService>>,
    /// Limits the requests in progress.
    pub admission: Admission,
    /// Room for the messages and bodies in work, those over HTTP included.
    pub bytes: ByteBudget,
    /// Places of the messages worked on.
    pub messages: MessagePlaces,
}

/// Places of the messages of a device that are worked on. Clones share them.
#[derive(Clone, Debug)]
pub struct MessagePlaces(Arc<Semaphore>);

impl Default for MessagePlaces {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MESSAGES)))
    }
}

impl Services {
    /// What is taken in of control messages.
    pub(crate) fn intake(&self) -> Intake {
        Intake {
            most: Control::max_len,
            budget: self.bytes.clone(),
        }
    }

    /// Admits no more requests of clients, and returns once nothing is worked on.
    pub(crate) async fn drain(&self) {
        self.admission.close();
        // Not by taking the places: messages that end requests have to be worked on too.
        while self.admission.free() < MAX_REQUESTS || self.messages.0.available_permits() < MESSAGES
        {
            tokio::time::sleep(DRAIN_CHECK).await;
        }
    }
}

/// How often it is checked whether all requests have ended.
const DRAIN_CHECK: Duration = Duration::from_millis(20);
/// Messages worked on at a time. Further ones wait in the link's inbox, and beyond that are dropped.
const MESSAGES: usize = 128;

struct Server {
    coordinator: Arc<Coordinator>,
    services: Services,
}

/// Asks [`serve`] whether it still handles messages: it answers in a task, as it does a message.
pub type Ping = oneshot::Sender<()>;

/// Handles messages and pings until the session ends, each in a task of its own.
pub async fn serve(
    coordinator: Arc<Coordinator>,
    services: Services,
    mut messages: mpsc::Receiver<IncomingRequest>,
    mut pings: mpsc::Receiver<Ping>,
) {
    let places = Arc::clone(&services.messages.0);
    let server = Arc::new(Server {
        coordinator,
        services,
    });
    loop {
        let mut incoming = tokio::select! {
            incoming = messages.recv() => match incoming {
                Some(incoming) => incoming,
                None => return,
            },
            Some(ping) = pings.recv() => {
                // The client may have disconnected.
                tokio::spawn(async move {
                    let _ = ping.send(());
                });
                continue;
            }
        };
        let server = Arc::clone(&server);
        // Fails only where the semaphore is closed, which it never is.
        let place = Arc::clone(&places).acquire_owned().await;
        tokio::spawn(async move {
            let bytes = incoming.take_bytes();
            if let Some(reply) = server.reply(&incoming, bytes).await {
                incoming.reply(reply).await;
            }
            drop(place);
        });
    }
}

impl Server {
    /// The reply to one message, if it has one.
    async fn reply(&self, incoming: &IncomingRequest, bytes: Vec<u8>) -> Option<Vec<u8>> {
        let text_service = self.services.text.as_ref();
        let ours = self.coordinator.device().membership().versions();
        let replies = Replies::to(&bytes, ours);
        let image_request = match Control::parse(&bytes) {
            Ok(Control::GenerationRequest(request)) => {
                let link = self.coordinator.device().link();
                return Some(match self.context(incoming, request.options, replies) {
                    Ok(context) => {
                        text::generate(text_service, link, incoming, &request, context, replies)
                            .await
                    }
                    Err(refusal) => refusal,
                });
            }
            Ok(Control::EmbeddingRequest(request)) => {
                return Some(match self.context(incoming, request.options, replies) {
                    Ok(context) => text::embed(text_service, &request, context, replies).await,
                    Err(refusal) => refusal,
                });
            }
            Ok(Control::ImageRequest(request)) => {
                match self.context(incoming, request.options, replies) {
                    Ok(context) => ImageRequest {
                        context,
                        image: request.image.to_vec(),
                    },
                    Err(refusal) => return Some(refusal),
                }
            }
            other => return self.handle_device_message(incoming, other, replies).await,
        };
        // As large as the image: not kept while the request runs.
        drop(bytes);
        Some(image::answer(&self.coordinator, image_request, replies).await)
    }

    /// The context of a client's request, which takes a permit among the requests in progress.
    ///
    /// # Errors
    /// There is none left: the refusal for the client.
    fn context(
        &self,
        incoming: &IncomingRequest,
        options: RequestOptions,
        replies: Replies,
    ) -> Result<RequestContext, Vec<u8>> {
        let permit = self.services.admission.admit();
        let permit = permit.map_err(|overloaded| replies.failed(&overloaded))?;
        Ok(RequestContext {
            options,
            tokens_per_member: incoming.parameter("ranges").and_then(parse_shares),
            client: ClientHandle::at(permit),
        })
    }

    /// The reply to a message between devices, if it has one.
    async fn handle_device_message(
        &self,
        incoming: &IncomingRequest,
        message: Result<Control<'_>, FrameError>,
        replies: Replies,
    ) -> Option<Vec<u8>> {
        let device = self.coordinator.device();
        let reply = match message {
            Ok(Control::Offer(offer)) => {
                replies.message(&plan::accept(device, &offer, replies.version).await)
            }
            Ok(Control::Probe { plan, epoch }) => {
                replies.message(&plan::probe(device, plan, epoch).await)
            }
            Ok(Control::Start(start)) => member::compute(device, &start, replies).await,
            Ok(Control::StartText(start)) => {
                member::compute_text(device, &start, incoming, replies).await;
                return None;
            }
            Ok(Control::Resume(resume)) => {
                member::resume(device, &resume, incoming, replies).await;
                return None;
            }
            Ok(Control::Cancel {
                plan,
                request,
                secret,
            }) => {
                let slot = device.slots.find(plan);
                if let Some(slot) = slot.filter(|slot| slot.secret == secret) {
                    slot.cancel(request);
                }
                device.generations.cancel(plan, request, secret);
                replies.message(&Control::Ack { plan, request })
            }
            Ok(Control::Halo(halo)) => {
                if let Err(error) = halo::receive(device, &halo) {
                    return Some(replies.failed(&error));
                }
                let (plan, request) = (halo.plan, halo.request);
                replies.message(&Control::Ack { plan, request })
            }
            Ok(Control::Leave { device: other }) => {
                device.ask_whether_there(other);
                return None;
            }
            Ok(_) => replies.failed(&"this message is not a request"),
            Err(FrameError::Version { .. }) => replies.refuse(0, Reason::OtherVersion),
            Err(error) => replies.failed(&error),
        };
        Some(reply)
    }
}
