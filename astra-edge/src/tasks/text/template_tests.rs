use super::*;

fn chat(messages: &[(&str, &str)]) -> Vec<Message> {
    let message = |(role, content): &(&str, &str)| Message::new(*role, *content);
    messages.iter().map(message).collect()
}

fn render(source: &str, messages: &[(&str, &str)]) -> Result<String, TemplateError> {
    ChatTemplate::new(source, "<s>", "</s>")?.render(&chat(messages))
}

#[test]
fn turns_and_the_prompt_of_the_next() {
    let source = "{{ bos_token }}{% for message in messages %}
    {% if loop.first and message['role'] != 'system' %}
default
    {% endif %}
{{ '<|' + message['role'] + '|>' }}{{ message.content | trim }}{{ eos_token }}
{% endfor %}
{% if add_generation_prompt %}
{{ '<|assistant|>' }}
{%- endif %}";
    let text = render(source, &[("user", " Hi & <bye> "), ("assistant", "Yes")]).unwrap();
    assert_eq!(
        text,
        "<s>default\n<|user|>Hi & <bye></s>\n<|assistant|>Yes</s>\n<|assistant|>"
    );
}

#[test]
fn what_python_offers_is_there() {
    let cases = [
        ("{{ messages[0].content.strip().upper() }}", "A B"),
        ("{{ messages[0]['content'].split(' ') | length }}", "4"),
        (
            "{% for k, v in messages[0].items() %}{{ k }},{% endfor %}",
            "role,content,",
        ),
        ("{{ messages[0].get('missing', 'none') }}", "none"),
        (
            "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}",
            "1",
        ),
        (
            "{% for i in range(9) %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}",
            "01",
        ),
        (
            "{{ messages[0].content.startswith(' a') and not tools }}",
            "True",
        ),
        ("{{ {'a': ['<&', 1]} | tojson }}", r#"{"a": ["<&", 1]}"#),
        (
            "{% if tools is defined and tools %}t{% else %}none{% endif %}",
            "none",
        ),
        (
            "{{ messages[-1].role }}{{ messages[1:] | length }}",
            "user0",
        ),
    ];
    for (source, expected) in cases {
        let text = render(source, &[("user", " a b ")]).unwrap();
        assert_eq!(text.to_lowercase(), expected.to_lowercase(), "{source}");
    }
    let year = render("{{ strftime_now('%d %b %Y') }}", &[]).unwrap();
    assert_eq!(year.len(), "24 Nov 2026".len(), "{year}");
}

#[test]
fn a_chat_that_the_template_refuses_is_told_apart_from_a_template_that_fails() {
    let source =
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system here') }}{% endif %}ok";
    let refused = render(source, &[("system", "x")]).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the model's chat template refuses these messages: no system here"
    );
    assert_eq!(render(source, &[("user", "x")]).unwrap(), "ok");
    let failed = render("{{ nothing.of.this }}", &[]).unwrap_err();
    assert!(matches!(failed, TemplateError::Failed(_)), "{failed}");
    let unread = ChatTemplate::new("{% if %}", "", "").err().unwrap();
    assert!(matches!(unread, TemplateError::Parse(_)), "{unread}");
    let format = render("{{ strftime_now('%') }}", &[]).unwrap_err();
    assert!(matches!(format, TemplateError::Failed(_)), "{format}");
}

#[test]
fn a_template_that_does_not_end_is_ended() {
    let source = "{% for a in range(90000) %}{% for b in range(90000) %}x{% endfor %}{% endfor %}";
    let failed = render(source, &[]).unwrap_err();
    assert!(matches!(failed, TemplateError::Failed(_)), "{failed}");
}

/// transformers gives a template every field of a message; one that is not given is undefined.
#[test]
fn thoughts_and_names_are_there_where_they_are_given() {
    let source = "{% for m in messages %}[{{ m.role }}{% if m.name is defined %} {{ m.name }}{% endif %}]\
                  {% if m.reasoning_content is string %}<think>{{ m.reasoning_content }}</think>{% endif %}\
                  {{ m.content }}{% endfor %}";
    let template = ChatTemplate::new(source, "", "").unwrap();
    let messages = [
        Message {
            name: Some("eve".to_owned()),
            ..Message::new("user", "hi")
        },
        Message {
            reasoning_content: Some("hm".to_owned()),
            ..Message::new("assistant", "yes")
        },
        Message::new("user", "more"),
    ];
    assert_eq!(
        template.render(&messages).unwrap(),
        "[user eve]hi[assistant]<think>hm</think>yes[user]more"
    );
}
