"""Train a small BERT from scratch on made-up texts, with the Trainer of transformers.

python examples/text_classification.py --learning-rate 1e-3
python examples/text_classification.py --learning-rate 3   # is not trained
"""

import argparse
import tempfile
from typing import Any

import torch
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

import recent_prune as rp

WORDS, LONGEST = 400, 24


def texts(count: int) -> list[dict[str, Any]]:
    """Rows as a tokenizer gives them, padded to the longest."""
    rows = []
    for place in range(count):
        label, length = place % 2, int(torch.randint(8, LONGEST + 1, ()))
        free, of_topic = torch.randint(1, WORDS, (LONGEST,)), torch.randint(1, 100, (LONGEST,))
        ids = torch.where(torch.rand(LONGEST) < 0.3, 100 * label + of_topic, free)
        mask = (torch.arange(LONGEST) < length).long()
        rows.append({"input_ids": ids * mask, "attention_mask": mask, "labels": label})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--steps", type=int, default=60)
    given = parser.parse_args()
    torch.manual_seed(0)
    layers = {"num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
    model = BertForSequenceClassification(BertConfig(vocab_size=WORDS, hidden_size=64, **layers))
    with tempfile.TemporaryDirectory() as folder:
        settings = {"per_device_train_batch_size": 16, "report_to": [], "use_cpu": True}
        steps = {"max_steps": given.steps, "learning_rate": given.learning_rate}
        arguments = TrainingArguments(folder, **steps, **settings)
        trainer = Trainer(model, arguments, train_dataset=texts(640))

        trainer.create_optimizer_and_scheduler(given.steps)  # added
        training = rp.Training(  # added
            None,
            trainer.optimizer,
            scheduler=trainer.lr_scheduler,
            budget=given.steps,
            clip_norm=arguments.max_grad_norm or None,  # 0 is no clipping
            accumulate=arguments.gradient_accumulation_steps,
        )
        result = rp.probe(model, trainer.get_train_dataloader(), training=training)  # added
        verdict = rp.TrainabilityRule()(result)
        print(verdict.reason)
        if verdict.trainable:
            trainer.train()


if __name__ == "__main__":
    main()
