# SPDX-License-Identifier: Apache-2.0
# The same models and the same step in torch (Debian: python3-torch), for comparison with bench_step in one session:
#   python3 bench/peers/torch_step.py --model moe-small --precision bf16 --processes 2 --steps 10
# A step is zero_grad, forward, backward and AdamW, eager. Prints one JSON object. What torch is given to be fair:
# - --precision bf16 is the usual mixed precision: forward and loss under autocast, backward outside of it, parameters,
#   their gradients and AdamW in fp32.
# - --processes N is DistributedDataParallel over gloo on this machine: every process has --threads threads and its
#   share of the same batch, and gradients are averaged. Batch norm is DDP's own: each process takes the statistics of
#   its share. A step lasts from one barrier to the next; process 0 prints.
# - Debian's torch multiplies matrices in the system's BLAS, whose threads torch does not control (OpenBLAS takes every
#   core, whatever torch.set_num_threads says), so the threads of both are set before it is loaded; and it does not
#   choose AVX-512 by itself, so it is told to.
import argparse, json, os, statistics, tempfile, time

GPTS = {  # vocab, seq, batch, embed, layers, heads, tied
    "gpt-tiny": (64, 16, 4, 32, 2, 4, False),
    "gpt-small": (2048, 128, 8, 256, 4, 4, False),
    "gpt-medium": (8192, 256, 4, 512, 8, 8, False),
    "gpt-124m": (50257, 64, 4, 768, 12, 12, True),
}
MOES = {"moe-tiny": ("gpt-tiny", 4), "moe-small": ("gpt-small", 8), "moe-medium": ("gpt-medium", 8)}  # of, experts
WRNS = {  # pixels, batch, base, widening, depth, classes, large stem
    "wrn-tiny": (16, 8, 8, 2, (1, 1), 10, False),
    "wrn-small": (32, 16, 32, 2, (2, 2, 2), 100, False),
    "wrn-medium": (128, 4, 64, 2, (3, 4, 6, 3), 1000, True),
}

parser = argparse.ArgumentParser()
parser.add_argument("--model", default="gpt-small", choices=[*GPTS, *MOES, *WRNS])
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--processes", type=int, default=1)
parser.add_argument("--precision", default="f32", choices=["f32", "bf16"])
parser.add_argument("--steps", type=int, default=10)
chosen = parser.parse_args()
for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ[variable] = str(chosen.threads)
os.environ.setdefault("ATEN_CPU_CAPABILITY", "avx512")
os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # or gloo takes the interface that the host's name means
import torch
from torch.nn import functional


class Attention(torch.nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = torch.nn.Linear(width, 3 * width), torch.nn.Linear(width, width)

    def forward(self, x, mask):
        batch, seq, width = x.shape
        q, k, v = (t.view(batch, seq, self.heads, -1).transpose(1, 2) for t in self.qkv(x).split(width, 2))
        if hasattr(functional, "scaled_dot_product_attention"):
            mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            scores = (q @ k.transpose(2, 3)) / (width // self.heads) ** 0.5
            mixed = torch.softmax(scores.masked_fill(mask, float("-inf")), -1) @ v
        return self.proj(mixed.transpose(1, 2).reshape(batch, seq, width))


class Mlp(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc1, self.fc2 = torch.nn.Linear(width, 4 * width), torch.nn.Linear(4 * width, width)

    def forward(self, x):
        return self.fc2(functional.gelu(self.fc1(x), approximate="tanh"))


class Experts(torch.nn.Module):
    """GShard's top-2 routing over groups of one sequence, by indices; the auxiliary loss is left in `balance`."""

    def __init__(self, width, experts):
        super().__init__()
        self.experts = experts
        self.gate = torch.nn.Parameter(torch.randn(width, experts) * 0.02)
        self.wi = torch.nn.Parameter(torch.randn(experts, width, 4 * width) * 0.02)
        self.wo = torch.nn.Parameter(torch.randn(experts, 4 * width, width) * 0.02)

    def forward(self, x):
        groups, tokens, width = x.shape
        capacity = max(1, 2 * tokens // self.experts)
        share = torch.softmax(x @ self.gate.to(x.dtype), -1)
        first = share.argmax(-1)
        taken = functional.one_hot(first, self.experts)
        second = share.masked_fill(taken.bool(), -1).argmax(-1)
        also = functional.one_hot(second, self.experts)
        self.balance = self.experts * (taken.to(share.dtype).mean(1) * share.mean(1)).sum(-1).mean()
        place = (taken.cumsum(1) * taken).sum(-1) - 1
        kept = torch.minimum(taken.sum(1), torch.tensor(capacity)).unsqueeze(1)
        other = ((also.cumsum(1) + kept) * also).sum(-1) - 1
        slots = torch.stack([first * capacity + place, second * capacity + other], -1)
        fits = torch.stack([place < capacity, other < capacity], -1)
        weight = torch.gather(share, 2, torch.stack([first, second], -1)) * fits
        weight = weight / weight.sum(-1, keepdim=True).clamp_min(1e-9)
        slots = torch.where(fits, slots, self.experts * capacity).view(groups, -1)
        index = slots.unsqueeze(-1).expand(-1, -1, width)
        buffers = x.new_zeros(groups, self.experts * capacity + 1, width)
        buffers = buffers.scatter(1, index, x.repeat_interleave(2, 1))[:, :-1]
        buffers = buffers.view(groups, self.experts, capacity, width).transpose(0, 1).reshape(self.experts, -1, width)
        hidden = functional.gelu(torch.bmm(buffers, self.wi.to(x.dtype)), approximate="tanh")
        made = torch.bmm(hidden, self.wo.to(x.dtype)).view(self.experts, groups, capacity, width)
        made = functional.pad(made.transpose(0, 1).reshape(groups, -1, width), (0, 0, 0, 1))
        back = torch.gather(made, 1, index).view(groups, tokens, 2, width)
        return (back * weight.unsqueeze(-1)).sum(2)


class Block(torch.nn.Module):
    def __init__(self, width, heads, think):
        super().__init__()
        self.ln1, self.ln2 = torch.nn.LayerNorm(width), torch.nn.LayerNorm(width)
        self.attend, self.think = Attention(width, heads), think

    def forward(self, x, mask):
        x = x + self.attend(self.ln1(x), mask)
        return x + self.think(self.ln2(x))


class Gpt(torch.nn.Module):
    """Of n experts in every second layer, the first included; none if n is 0."""

    def __init__(self, shape, experts=0):
        super().__init__()
        vocab, seq, _, width, layers, heads, tied = shape
        self.wte, self.wpe = torch.nn.Embedding(vocab, width), torch.nn.Embedding(seq, width)
        self.blocks = torch.nn.ModuleList(
            Block(width, heads, Experts(width, experts) if experts and layer % 2 == 0 else Mlp(width))
            for layer in range(layers))
        self.lnf, self.head = torch.nn.LayerNorm(width), torch.nn.Linear(width, vocab, bias=False)
        if tied:
            self.head.weight = self.wte.weight
        self.mask = torch.triu(torch.ones(seq, seq, dtype=torch.bool), 1)  # no buffer: DDP would broadcast it

    def forward(self, tokens, targets):
        x = self.wte(tokens) + self.wpe.weight
        for block in self.blocks:
            x = block(x, self.mask)
        loss = functional.cross_entropy(self.head(self.lnf(x)).flatten(0, 1), targets.flatten())
        balances = [block.think.balance for block in self.blocks if isinstance(block.think, Experts)]
        return loss + 0.01 * sum(balances) if balances else loss


class Bottleneck(torch.nn.Module):
    def __init__(self, before, inner, after, stride):
        super().__init__()
        conv, norm = torch.nn.Conv2d, torch.nn.BatchNorm2d
        self.body = torch.nn.Sequential(
            conv(before, inner, 1, bias=False), norm(inner), torch.nn.ReLU(inplace=True),
            conv(inner, inner, 3, stride, 1, bias=False), norm(inner), torch.nn.ReLU(inplace=True),
            conv(inner, after, 1, bias=False), norm(after))
        changes = before != after or stride != 1
        self.shortcut = torch.nn.Sequential(conv(before, after, 1, stride, bias=False), norm(after)) if changes else None

    def forward(self, x):
        return torch.relu(self.body(x) + (self.shortcut(x) if self.shortcut is not None else x))


class WideResnet(torch.nn.Module):
    def __init__(self, base, widening, depth, classes, large):
        super().__init__()
        stem = torch.nn.Conv2d(3, base, 7, 2, 3, bias=False) if large else torch.nn.Conv2d(3, base, 3, 1, 1, bias=False)
        layers = [stem, torch.nn.BatchNorm2d(base), torch.nn.ReLU(inplace=True)]
        layers += [torch.nn.MaxPool2d(3, 2, 1)] if large else []
        before = base
        for stage, blocks in enumerate(depth):
            planes = base << stage
            for block in range(blocks):
                stride = 2 if stage > 0 and block == 0 else 1
                layers.append(Bottleneck(before, planes * widening, planes * 4, stride))
                before = planes * 4
        self.trunk, self.head = torch.nn.Sequential(*layers), torch.nn.Linear(before, classes)

    def forward(self, images, labels):
        return functional.cross_entropy(self.head(self.trunk(images).mean((2, 3))), labels)


def make():
    """The model and the whole batch."""
    torch.manual_seed(1)
    if chosen.model in WRNS:
        pixels, batch, base, widening, depth, classes, large = WRNS[chosen.model]
        model = WideResnet(base, widening, depth, classes, large)
        return model, torch.randn(batch, 3, pixels, pixels), torch.randint(classes, (batch,))
    of, experts = MOES.get(chosen.model, (chosen.model, 0))
    vocab, seq, batch = GPTS[of][:3]
    return Gpt(GPTS[of], experts), torch.randint(vocab, (batch, seq)), torch.randint(vocab, (batch, seq))


def divided(model, x, y, rank, meeting):
    """A process's replica of the model and share of the batch; processes find each other by the file `meeting`."""
    if len(x) % chosen.processes != 0:
        raise SystemExit(f"torch_step: {chosen.processes} processes do not divide a batch of {len(x)}")
    torch.distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank,
                                         world_size=chosen.processes)
    x, y = x.chunk(chosen.processes)[rank], y.chunk(chosen.processes)[rank]
    return torch.nn.parallel.DistributedDataParallel(model), x, y


def seconds_of_steps(model, x, y, barrier):
    """The steps after the first, which allocates."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    times = []
    for _ in range(chosen.steps + 1):
        barrier()
        begin = time.perf_counter()
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=chosen.precision == "bf16"):
            loss = model(x, y)
        loss.backward()
        optimizer.step()
        barrier()
        times.append(time.perf_counter() - begin)
    return times[1:]


def measure(rank, meeting=None):
    torch.set_num_threads(chosen.threads)
    model, x, y = make()
    if chosen.model in WRNS:
        model, x = model.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)
    if meeting:
        model, x, y = divided(model, x, y, rank, meeting)
    times = seconds_of_steps(model, x, y, torch.distributed.barrier if meeting else lambda: None)
    if rank == 0:
        print(json.dumps({"torch": torch.__version__, "model": chosen.model, "precision": chosen.precision,
                          "threads": chosen.threads, "processes": chosen.processes,
                          "seconds": statistics.median(times), "least_seconds": min(times)}))
    if meeting:
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    if chosen.processes == 1:
        measure(0)
    else:
        with tempfile.TemporaryDirectory() as folder:
            torch.multiprocessing.spawn(measure, (os.path.join(folder, "meeting"),), nprocs=chosen.processes)
