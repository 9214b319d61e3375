//! The application alone, on a real PostgreSQL: cqrs-es and postgres-es as their documentation has them, and no log anywhere.

use std::sync::Arc;

use cqrs_es::persist::{GenericQuery, PersistedEventStore};
use cqrs_es::{AggregateContext, AggregateError, CqrsFramework, EventStore};
use marketplace_reviews::review::{Opinion, Review, ReviewCommand, ReviewError, Rights, Stage, upcasters};
use marketplace_reviews::views::{ReviewView, TABLE};
use postgres_es::{PostgresEventRepository, PostgresViewRepository, default_postgress_pool};
use sqlx::{Pool, Postgres, Row};

use crate::postgres::Database;

/// The table of postgres-es.
const EVENTS: &str = "CREATE TABLE events (aggregate_type text NOT NULL, aggregate_id text NOT NULL, sequence bigint CHECK (sequence >= 0) NOT NULL,
    event_type text NOT NULL, event_version text NOT NULL, payload json NOT NULL, metadata json NOT NULL,
    PRIMARY KEY (aggregate_type, aggregate_id, sequence))";

type Store = PersistedEventStore<PostgresEventRepository, Review>;

fn store(pool: &Pool<Postgres>) -> Store {
    PersistedEventStore::new_event_store(PostgresEventRepository::new(pool.clone())).with_upcasters(upcasters())
}

fn opinion(stars: u8) -> Opinion {
    Opinion { stars, title: "Bright".into(), text: "It shines.".into() }
}

async fn ratings(pool: &Pool<Postgres>) -> Vec<(String, i64, String)> {
    let rows = sqlx::query("SELECT product, reviews, average::text FROM ratings ORDER BY product").fetch_all(pool).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
}

#[tokio::test]
async fn the_application_runs_on_postgres_alone() {
    let database = Database::start();
    let pool = default_postgress_pool(database.url()).await;
    sqlx::raw_sql(EVENTS).execute(&pool).await.unwrap();
    marketplace_reviews::migrations().run(&pool).await.unwrap();
    let views = Arc::new(PostgresViewRepository::<ReviewView, Review>::new(TABLE, pool.clone()));
    let mut query = GenericQuery::new(views);
    query.use_error_handler(Box::new(|why| panic!("{why}")));
    let framework = CqrsFramework::<Review, _>::new(store(&pool), vec![Box::new(query)], Rights::ALL);
    for (customer, stars) in [(17, 5), (18, 2)] {
        let id = format!("{customer}-42-1");
        framework.execute(&id, ReviewCommand::RecordPurchase { order: format!("{customer}-1") }).await.unwrap();
        framework.execute(&id, ReviewCommand::Write(opinion(stars))).await.unwrap();
    }
    assert!(matches!(framework.execute("17-42-1", ReviewCommand::Write(opinion(1))).await, Err(AggregateError::UserError(ReviewError::Reviewed))));
    assert!(matches!(framework.execute("17-42-2", ReviewCommand::Write(opinion(1))).await, Err(AggregateError::UserError(ReviewError::NotBought))));
    framework.execute("17-42-1", ReviewCommand::Answer { text: "Thank you.".into() }).await.unwrap();
    assert_eq!(ratings(&pool).await, [("42-1".to_owned(), 2, "3.50".to_owned())]);
    framework.execute("18-42-1", ReviewCommand::Edit(opinion(3))).await.unwrap();
    assert_eq!(ratings(&pool).await, [("42-1".to_owned(), 2, "4.00".to_owned())]);
    framework.execute("18-42-1", ReviewCommand::Withdraw).await.unwrap();
    assert_eq!(ratings(&pool).await, [("42-1".to_owned(), 1, "5.00".to_owned())]);
    let row = sqlx::query("SELECT payload FROM reviews WHERE view_id = '17-42-1'").fetch_one(&pool).await.unwrap();
    let shown = ReviewView {
        product: "42-1".into(),
        customer: "17".into(),
        stars: Some(5),
        title: "Bright".into(),
        text: "It shines.".into(),
        answer: Some("Thank you.".into()),
    };
    assert_eq!(serde_json::from_value::<ReviewView>(row.get(0)).unwrap(), shown);
    // What was written before there were titles.
    let old = "INSERT INTO events SELECT 'review', '19-42-1', n, t, '1.0', p::json, '{}' FROM (VALUES
        (1, 'Bought', '{\"Bought\":{\"order\":\"19-1\"}}'), (2, 'Written', '{\"Written\":{\"stars\":4,\"text\":\"It shines.\"}}')) AS v(n, t, p)";
    sqlx::raw_sql(old).execute(&pool).await.unwrap();
    let mut loaded = store(&pool).load_aggregate("19-42-1").await.unwrap();
    assert_eq!(loaded.aggregate().stage, Stage::Written(Opinion { title: String::new(), ..opinion(4) }));
    framework.execute("19-42-1", ReviewCommand::Edit(opinion(1))).await.unwrap();
    assert_eq!(ratings(&pool).await, [("42-1".to_owned(), 2, "3.00".to_owned())]);
}
