"""`rnn_lm`: a language model that is an Elman network (nn.RNN, tanh) between an embedding and a linear decoder."""

from __future__ import annotations

from torch import Tensor, nn

from pipeline.zoo import Family
from pipeline.zoo._language_model import LANGUAGE_MODEL, next_word_loss
from pipeline.zoo._recurrent import RecurrentHyperparameters


class RNNLanguageModel(nn.Module):
    """Embedding, RNN over time, decoder to the vocabulary; the loss is the mean cross-entropy of the next word."""

    def __init__(self, vocabulary_size: int, sizes: RecurrentHyperparameters) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary_size, sizes.embedding_size)
        self.rnn = nn.RNN(
            sizes.embedding_size,
            sizes.hidden_size,
            sizes.layers,
            batch_first=True,
            dropout=sizes.dropout_between_layers,
        )
        self.decoder = nn.Linear(sizes.hidden_size, vocabulary_size)
        self.dropout = nn.Dropout(sizes.dropout)

    def forward(self, input_ids: Tensor, targets: Tensor) -> Tensor:
        """The loss, a scalar in nats, of `targets` after `input_ids`; both B x T, int64, padding -100 in `targets`."""
        hidden, _ = self.rnn(self.dropout(self.embedding(input_ids)))
        return next_word_loss(self.decoder(self.dropout(hidden)), targets)


FAMILY = Family(RecurrentHyperparameters, RNNLanguageModel, LANGUAGE_MODEL)
