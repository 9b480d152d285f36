//! How a request is to be processed, and for whom.

use astra_wire::RequestOptions;

use crate::cluster::request::client_handle::ClientHandle;

/// How a request is to be processed, and for whom: the same for images, generations and embeddings.
#[derive(Clone, Debug, Default)]
pub struct RequestContext {
    /// Rung, deadline and members. The deadline is that of the answer, or of a generation's first token.
    pub options: RequestOptions,
    /// Tokens of each member in the order of their names, besides those that every member computes; by speed if `None`.
    pub tokens_per_member: Option<Vec<u16>>,
    /// The client. A request whose client is gone before its turn is not processed.
    pub client: ClientHandle,
}
