//! What the user should know of a model that was read, on standard error.

use astra_bundle::TextInput;
use astra_export::source::{Content, Imported};
use astra_model::tasks::text::template::{ChatTemplate, Message, TemplateError};

/// Prints warnings, and which chat template was taken.
pub(super) fn print(imported: &Imported) {
    for warning in &imported.warnings {
        eprintln!("warning: {warning}");
    }
    let Content::Text(text) = &imported.content else {
        return;
    };
    let Some(template) = &text.input.chat_template else {
        return;
    };
    let from = text.template_from.as_ref().unwrap_or(&imported.file);
    match tried(template, &text.input) {
        Ok(()) => eprintln!("chat template: {from}"),
        Err(error) => {
            eprintln!("warning: {from}: {error}; chats will be refused, prompts will not")
        }
    }
}

/// Renders a chat by the code of the device. A template may refuse this one chat; that it cannot be used is another matter.
fn tried(template: &str, input: &TextInput) -> Result<(), TemplateError> {
    let token = |token: &Option<String>| token.clone().unwrap_or_default();
    let (bos, eos) = (token(&input.bos_token), token(&input.eos_token));
    let template = ChatTemplate::new(template, &bos, &eos)?;
    let chat = [Message::new("user", "Hello")];
    match template.render(&chat) {
        Ok(_) | Err(TemplateError::Refused(_)) => Ok(()),
        Err(error) => Err(error),
    }
}
