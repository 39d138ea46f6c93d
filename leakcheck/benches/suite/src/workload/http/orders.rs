//! What the service does for a request, and what its clients ask: orders as JSON.

use crate::chance::Chance;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Customers that the service remembers.
const CUSTOMERS_MAX: usize = 1000;
/// Customers there are.
const CUSTOMERS: u64 = 2000;

/// The service's memory.
#[derive(Default)]
pub(super) struct Orders {
    customers: Mutex<HashMap<u64, Arc<Customer>>>,
}

struct Customer {
    name: String,
    discount_percent: u64,
}

impl Orders {
    /// The answer to an order, or why there is none.
    pub(super) fn answer(&self, body: &[u8]) -> Result<String, String> {
        let order: Value = serde_json::from_slice(body).map_err(|why| why.to_string())?;
        let number = order["customer"].as_u64().ok_or("an order needs a customer")?;
        let customer = self.customer(number);
        let items = order["items"].as_array().ok_or("an order needs items")?;
        let mut lines = Vec::new();
        let mut total = 0;
        for item in items {
            let amount = item["count"].as_u64().unwrap_or(0) * item["cents"].as_u64().unwrap_or(0);
            total += amount;
            lines.push(json!({ "article": item["article"], "cents": amount }));
        }
        let due = total * (100 - customer.discount_percent) / 100;
        Ok(json!({ "customer": customer.name, "lines": lines, "total": total, "due": due }).to_string())
    }

    /// A customer, remembered or looked up.
    fn customer(&self, number: u64) -> Arc<Customer> {
        let mut customers = self.customers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(customer) = customers.get(&number) {
            return Arc::clone(customer);
        }
        if customers.len() >= CUSTOMERS_MAX
            && let Some(any) = customers.keys().next().copied()
        {
            customers.remove(&any);
        }
        let customer = Arc::new(Customer { name: format!("customer {number}"), discount_percent: number % 20 });
        customers.insert(number, Arc::clone(&customer));
        customer
    }
}

/// An order, and the total that the answer must name.
pub(super) fn made_up(chance: &mut Chance) -> (String, u64) {
    let mut total = 0;
    let items: Vec<Value> = (0..5 + chance.below(20))
        .map(|_| {
            let (count, cents) = (1 + chance.below(9), 100 + chance.below(9900));
            total += count * cents;
            json!({ "article": format!("article {}", chance.below(5000)), "count": count, "cents": cents })
        })
        .collect();
    (json!({ "customer": chance.below(CUSTOMERS), "items": items }).to_string(), total)
}
