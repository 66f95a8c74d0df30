# SPDX-License-Identifier: Apache-2.0
# The same models and the same step in torch (Debian: python3-torch), for comparison with bench_step in one session:
#   python3 bench/torch_step.py --model gpt-small --threads 1 --steps 10
# Prints one JSON object. Debian's torch multiplies matrices in the system's BLAS, whose threads torch does not control
# (OpenBLAS takes every core, whatever torch.set_num_threads says), so the threads of both are set before it is loaded.
import argparse, json, os, statistics, time

parser = argparse.ArgumentParser()
parser.add_argument("--model", default="gpt-small")
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--steps", type=int, default=10)
chosen = parser.parse_args()
for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ[variable] = str(chosen.threads)
import torch

SHAPES = {  # vocab, seq, batch, embed, layers, heads, tied
    "gpt-tiny": (64, 16, 4, 32, 2, 4, False),
    "gpt-small": (2048, 128, 8, 256, 4, 4, False),
    "gpt-medium": (8192, 256, 4, 512, 8, 8, False),
    "gpt-124m": (50257, 64, 4, 768, 12, 12, True),
}


class Block(torch.nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.ln1, self.ln2 = torch.nn.LayerNorm(width), torch.nn.LayerNorm(width)
        self.qkv, self.proj = torch.nn.Linear(width, 3 * width), torch.nn.Linear(width, width)
        self.fc1, self.fc2 = torch.nn.Linear(width, 4 * width), torch.nn.Linear(4 * width, width)

    def forward(self, x, mask):
        batch, seq, width = x.shape
        q, k, v = (t.view(batch, seq, self.heads, -1).transpose(1, 2) for t in self.qkv(self.ln1(x)).split(width, 2))
        scores = (q @ k.transpose(2, 3)) / (width // self.heads) ** 0.5
        weights = torch.softmax(scores.masked_fill(mask, float("-inf")), -1)
        x = x + self.proj((weights @ v).transpose(1, 2).reshape(batch, seq, width))
        return x + self.fc2(torch.nn.functional.gelu(self.fc1(self.ln2(x)), approximate="tanh"))


class Gpt(torch.nn.Module):
    def __init__(self, vocab, seq, width, layers, heads, tied):
        super().__init__()
        self.wte, self.wpe = torch.nn.Embedding(vocab, width), torch.nn.Embedding(seq, width)
        self.blocks = torch.nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.lnf, self.head = torch.nn.LayerNorm(width), torch.nn.Linear(width, vocab, bias=False)
        if tied:
            self.head.weight = self.wte.weight
        self.register_buffer("mask", torch.triu(torch.ones(seq, seq, dtype=torch.bool), 1))

    def forward(self, tokens):
        x = self.wte(tokens) + self.wpe.weight
        for block in self.blocks:
            x = block(x, self.mask)
        return self.head(self.lnf(x))


if chosen.model not in SHAPES:
    raise SystemExit(f"torch_step: no model is called {chosen.model}; the models are {', '.join(SHAPES)}")
torch.set_num_threads(chosen.threads)
torch.manual_seed(1)
vocab, seq, batch, width, layers, heads, tied = SHAPES[chosen.model]
model = Gpt(vocab, seq, width, layers, heads, tied)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
tokens, targets = (torch.randint(vocab, (batch, seq)) for _ in range(2))
times = []
for step in range(chosen.steps + 1):
    begin = time.perf_counter()
    optimizer.zero_grad()
    loss = torch.nn.functional.cross_entropy(model(tokens).view(-1, vocab), targets.view(-1))
    loss.backward()
    optimizer.step()
    times.append(time.perf_counter() - begin)
times = sorted(times[1:])
print(json.dumps({"torch": torch.__version__, "model": chosen.model, "threads": chosen.threads,
                  "seconds": statistics.median(times), "least_seconds": times[0]}))
