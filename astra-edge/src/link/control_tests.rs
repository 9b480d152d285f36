//! Messages between sessions of one process.

use super::super::LinkSettings;
use super::*;

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(50);

fn intake() -> Intake {
    Intake {
        most: |kind| if kind == 9 { 100 } else { 10 },
        budget: ByteBudget::new(1 << 20),
    }
}

async fn open(listen: Vec<std::net::SocketAddr>, connect: Vec<String>) -> Link {
    let settings = LinkSettings {
        cluster: "control".parse().unwrap(),
        listen,
        connect,
        multicast: None,
    };
    Link::open(settings).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_reply_and_a_late_reply_are_different_errors() {
    let far = open(vec![([127, 0, 0, 1], 0).into()], Vec::new()).await;
    let near = open(Vec::new(), far.addresses().await).await;
    let (_service, mut inbox) = far.serve_control(far.id(), intake()).await.unwrap();
    let request = |within| near.request(far.id(), "", vec![1], within);
    // Until near knows what far serves, requests go unanswered.
    loop {
        tokio::select! {
            answer = request(LONG) => assert!(matches!(answer, Err(LinkError::Unanswered { .. })), "{answer:?}"),
            Some(_) = inbox.recv() => break,
        }
    }
    let (answer, _kept) = tokio::join!(request(SHORT), inbox.recv());
    assert!(
        matches!(answer, Err(LinkError::NoAnswer { within: SHORT, .. })),
        "{answer:?}"
    );
    let dropped = async { drop(inbox.recv().await) };
    let (answer, ()) = tokio::join!(request(LONG), dropped);
    assert!(
        matches!(answer, Err(LinkError::Unanswered { .. })),
        "{answer:?}"
    );
    let gone = async {
        let kept = inbox.recv().await;
        far.close().await;
        kept
    };
    let (answer, _kept) = tokio::join!(request(LONG), gone);
    let error = answer.unwrap_err();
    assert!(matches!(error, LinkError::Unanswered { .. }), "{error}");
    assert!(error.to_string().contains("was gone"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_is_longer_than_its_kind_is_dropped() {
    let far = open(vec![([127, 0, 0, 1], 0).into()], Vec::new()).await;
    let near = open(Vec::new(), far.addresses().await).await;
    let (_service, mut inbox) = far.serve_control(far.id(), intake()).await.unwrap();
    let serving = tokio::spawn(async move {
        while let Some(mut incoming) = inbox.recv().await {
            let length = incoming.take_bytes().len() as u8;
            incoming.reply(vec![length]).await;
        }
    });
    let of = |kind, length: usize| {
        let mut message = vec![0; length];
        message[1] = kind;
        near.request(far.id(), "", message, LONG)
    };
    // Until near knows what far serves, requests go unanswered.
    while of(9, 2).await.is_err() {}
    assert_eq!(of(9, 100).await.unwrap(), [100]);
    assert_eq!(of(8, 10).await.unwrap(), [10]);
    for (kind, length) in [(9, 101), (8, 11)] {
        let answer = of(kind, length).await;
        let dropped = matches!(answer, Err(LinkError::Unanswered { .. }));
        assert!(dropped, "{kind} {length}: {answer:?}");
    }
    serving.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_session_replies_does_not_count() {
    let far = open(vec![([127, 0, 0, 1], 0).into()], Vec::new()).await;
    let near = open(Vec::new(), far.addresses().await).await;
    let rogue = open(Vec::new(), far.addresses().await).await;
    // Serves the key of another device, and says to Zenoh that nobody else needs to be asked.
    let key = rogue.cluster.control(near.id());
    let (asked, mut answers) = mpsc::channel(64);
    let _rogue = rogue
        .session
        .declare_queryable(key)
        .complete(true)
        .callback(move |query| {
            let key = query.key_expr().clone();
            let _ = query.reply(key, "of the rogue").wait();
            let _ = asked.try_send(());
        })
        .await
        .unwrap();
    let (_service, mut inbox) = near.serve_control(near.id(), intake()).await.unwrap();
    let serving = tokio::spawn(async move {
        while let Some(incoming) = inbox.recv().await {
            incoming.reply(b"of the device".to_vec()).await;
        }
    });
    // Until far knows both.
    while answers.try_recv().is_err() {
        if let Ok(reply) = far.request(near.id(), "", vec![0, 1], LONG).await {
            assert_eq!(reply, b"of the device");
        }
    }
    let reply = far.request(near.id(), "", vec![0, 1], LONG).await.unwrap();
    assert_eq!(reply, b"of the device");
    serving.abort();
}
