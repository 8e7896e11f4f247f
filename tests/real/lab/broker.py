"""A Kafka broker in memory, so that several Milvus processes can share one message queue.

Milvus nodes in separate processes need a real queue between them. librdkafka has a mock
broker built in for its own tests; this process keeps one alive and prints its address.
"""

import time

from confluent_kafka import Producer


def main():
    producer = Producer({"bootstrap.servers": "unused:9", "test.mock.num.brokers": 1})
    brokers = producer.list_topics(timeout=10).brokers.values()
    print(",".join(f"{broker.host}:{broker.port}" for broker in brokers), flush=True)
    while True:
        time.sleep(3600)


main()
