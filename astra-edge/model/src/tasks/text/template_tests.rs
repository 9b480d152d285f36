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

/// What Jinja2 3.1.6 makes of these templates, set up as transformers 5.24 does (`render_jinja_template`).
const JINJA: [(&str, &str); 22] = [
    (
        "{% if tools is not none %}T{% else %}N{% endif %}{% if tools is defined %}D{% endif %}{% if documents %}x{% endif %}{{ bos_token }}{{ unk_token }}",
        "ND<s>",
    ),
    (
        "{{ {'b': 1, 'a': [true, none, 1.5, 'ü\"\\n']} | tojson }}|{{ {'b': {'z': 1, 'y': 2}, 'a': []} | tojson(indent=2) }}",
        "{\"b\": 1, \"a\": [true, null, 1.5, \"ü\\\"\\n\"]}|{\n  \"b\": {\n    \"z\": 1,\n    \"y\": 2\n  },\n  \"a\": []\n}",
    ),
    (
        "{% for k, v in {'z': 1, 'a': 2, 'm': 3}.items() %}{{ k }}{{ v }},{% endfor %}",
        "z1,a2,m3,",
    ),
    (
        "{{ '<a> & \"b\"' | tojson }}{{ '<a>' }}{{ messages[0].content | e }}",
        "\"<a> & \\\"b\\\"\"<a> Hi &lt;b&gt; &amp; ",
    ),
    (
        "{% for m in messages %}\n    {%- if m.role == 'assistant' %}\n        {%- generation %}\n{{ m.content }}<end>\n        {% endgeneration %}\n    {%- else %}\n[{{ m.content }}]\n    {% endif %}\n{% endfor %}\n",
        "[ Hi <b> & ]\nYes<end>\n[ok]\n",
    ),
    (
        "{% for m in messages %}{% if m.role == 'assistant' %}  {% generation %}\n  {{ m.content }}\n  {% endgeneration %}\n  x{% else %}{{ m.content }}{% endif %}\n{% endfor %}",
        " Hi <b> &     Yes\n  xok",
    ),
    (
        "{% for m in messages %}{{- '<' + m.role + '>' }}{%- generation -%}  {{ m.content }}  {%- endgeneration -%}  y{% endfor %}",
        "<user> Hi <b> & y<assistant>Yesy<user>oky",
    ),
    (
        "{% set x = 1 %}{% generation %}{% set x = 2 %}{{ x }}{% endgeneration %}{{ x }}{% set ns = namespace(a=1) %}{% generation %}{% set ns.a = 5 %}{% endgeneration %}{{ ns.a }}{% for m in messages %}{% generation %}{{ loop.index }}{{ m.role }}{% endgeneration %}{% endfor %}",
        "2151user2assistant3user",
    ),
    (
        "{{ messages[1:]|length }}{{ messages[::-1][0].content }}{{ messages[:-1]|length }}{{ 'abcdef'[::2] }}{{ 'abcdef'[-3:] }}{{ 'abcdef'[::-1] }}{{ [1,2,3,4,5][1:4:2] }}",
        "2ok2acedeffedcba[2, 4]",
    ),
    (
        "{{ 'a' is string }}{{ {} is mapping }}{{ [] is iterable }}{{ [] is sequence }}{{ 'a' is iterable }}{{ 1 is number }}{{ true is boolean }}{{ true is true }}{{ none is none }}{{ 1 is odd }}{{ x is undefined }}{{ 1 is integer }}{{ 1.5 is float }}{{ {} is iterable }}{{ 'a' is sequence }}{{ {} is sequence }}{{ 3 is divisibleby 3 }}{{ 'a' is in ['a'] }}{{ 'a' is eq 'a' }}{{ 2 is gt 1 }}{{ 'A' is upper }}{{ false is false }}",
        "TrueTrueTrueTrueTrueTrueTrueTrueTrueTrueTrueTrueTrueTrueTrueTrueTrueTrueTrueTrueTrueTrue",
    ),
    (
        "{% set d = {'a': 1, 'b': {'c': 2}} %}{{ d.get('x') }}{{ d.get('x', 3) }}{{ d.b.c }}{{ d['b']['c'] }}{{ d.keys() | list }}{{ d.values() | list | length }}{{ 'a' in d }}{{ d | length }}{{ d.a }}{{ d | items | list }}{{ d | dictsort }}{{ dict(a=1) }}",
        "None322['a', 'b']2True21[('a', 1), ('b', {'c': 2})][('a', 1), ('b', {'c': 2})]{'a': 1}",
    ),
    (
        "{% for m in messages %}{{ loop.index0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.revindex }}{% if loop.previtem is defined %}{{ loop.previtem.role }}{% endif %}{% if loop.nextitem is defined %}{{ loop.nextitem.role }}{% endif %}{{ loop.cycle('a', 'b') }};{% else %}none{% endfor %}{% for i in range(5) if i % 2 == 0 %}{{ i }}{% endfor %}{% for i in range(10) %}{% if i == 3 %}{% break %}{% endif %}{% if i == 1 %}{% continue %}{% endif %}{{ i }}{% endfor %}{% for i in [] %}x{% else %}empty{% endfor %}{% for i in range(3, 0, -1) %}{{ i }}{% endfor %}",
        "0TrueFalse33assistanta;1FalseFalse32useruserb;2FalseTrue31assistanta;02402empty321",
    ),
    (
        "{{ 'a' if messages else 'b' }}{{ 'a' if false }}{{ not true }}{{ 1 if 1 == 1.0 else 2 }}{{ (messages | length) % 2 == 1 }}{{ 'x' if (messages[0].role == 'user') != (0 % 2 == 0) else 'y' }}{{ [] or 'z' }}{{ none or 'q' }}{{ 1 < 2 < 3 }}",
        "aFalse1TrueyzqTrue",
    ),
    (
        "  {% if true %}  \n  a\n  {%- if true -%}  \n b {%+ if true %}c{% endif %}\n{% endif %}\n{% endif %}\nd   {# c #}\ne\n\n{{ 'f' }}\n   {{- 'g' -}}   \nh\n",
        "  \n  ab cd   e\n\nfgh",
    ),
    ("{% if true %}\r\na\r\n{% endif %}\r\nb", "a\nb"),
    (
        "{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}\n{%- for message in messages[::-1] %}\n    {%- set index = (messages|length - 1) - loop.index0 %}\n    {%- if ns.multi_step_tool and message.role == \"user\" and message.content is string and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}\n        {%- set ns.multi_step_tool = false %}\n        {%- set ns.last_query_index = index %}\n    {%- endif %}\n{%- endfor %}\n{{- ns.last_query_index }}\n{%- if add_generation_prompt %}\n    {{- '<|im_start|>assistant\\n' }}\n    {%- if enable_thinking is defined and enable_thinking is false %}\n        {{- '<think>\\n\\n</think>\\n\\n' }}\n    {%- endif %}\n{%- endif %}",
        "2<|im_start|>assistant\n",
    ),
    (
        "{{- bos_token }}\n{%- if custom_tools is defined %}\n    {%- set tools = custom_tools %}\n{%- endif %}\n{%- if not tools_in_user_message is defined %}\n    {%- set tools_in_user_message = true %}\n{%- endif %}\n{%- if not date_string is defined %}\n    {%- set date_string = \"26 Jul 2024\" %}\n{%- endif %}\n{%- if not tools is defined %}\n    {%- set tools = none %}\n{%- endif %}\n{%- if builtin_tools is defined or tools is not none %}\n    {{- \"Environment: ipython\\n\" }}\n{%- endif %}\n{{- \"Today Date: \" + date_string + \"\\n\\n\" }}\n{%- if tools is not none and not tools_in_user_message %}TOOLS{%- endif %}{{ messages[0].content }}",
        "<s>Today Date: 26 Jul 2024\n\n Hi <b> & ",
    ),
    (
        "{% filter upper %}abc{% endfilter %}{% with a=1 %}{{ a }}{% endwith %}{% set x | upper %}q{% endset %}{{ x }}",
        "ABC1Q",
    ),
    (
        "{% set ns = namespace(found=false, s='') %}{% for m in messages %}{% if not ns.found %}{% set ns.found = true %}{% set ns.s = ns.s ~ m.role %}{% endif %}{% endfor %}{{ ns.s }}{{ ns.found }}",
        "userTrue",
    ),
    (
        "{{ messages | map(attribute='content') | map('trim') | join('\\n') }}",
        "Hi <b> &\nYes\nok",
    ),
    (
        "{%- if messages[0]['role'] == 'system' -%}{%- set system_message = messages[0]['content'] | trim -%}{%- set loop_messages = messages[1:] -%}{%- else -%}{%- set system_message = '' -%}{%- set loop_messages = messages -%}{%- endif -%}{%- for message in loop_messages -%}{%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{%- endif -%}{%- if message['role'] == 'user' -%}{{ '[INST] ' + message['content'] + ' [/INST]' }}{%- else -%}{{ ' ' + message['content'] + eos_token }}{%- endif -%}{%- endfor -%}",
        "[INST]  Hi <b> &  [/INST] Yes</s>[INST] ok [/INST]",
    ),
    (
        "{{ {'b': 'ü🦀'} | tojson(ensure_ascii=False) }}{{ {'b': 'ü🦀'} | tojson(ensure_ascii=True) }}",
        r#"{"b": "ü🦀"}{"b": "\u00fc\ud83e\udd80"}"#,
    ),
];

#[test]
fn templates_give_what_jinja_gives() {
    let chat = [("user", " Hi <b> & "), ("assistant", "Yes"), ("user", "ok")];
    for (source, expected) in JINJA {
        let found = render(source, &chat).unwrap();
        assert_eq!(found, expected, "{source}");
    }
}
