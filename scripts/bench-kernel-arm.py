#!/usr/bin/env python3
"""Counts the instructions of the bare-metal kernel's operations: runs the image kernel-bench in QEMU, which writes a line for each instruction that it
executes, and prints a table beside what TencentOS-tiny and FreeRTOS take for the same (measured in the same way with GCC 12, and exact: they do
not change from run to run).

A measurement lasts from behind the `bx lr` of bench_begin_N to before that of bench_end_N, the branch to the latter not counted. Where an interrupt
begins it, it lasts from the first instruction of the interrupt's handler; the instructions that pend it are not counted.

usage: scripts/bench-kernel-arm.py [ELF]
"""
import os
import re
import subprocess
import sys
import tempfile

# Number, name, where it begins, TencentOS-tiny 2.5.2 lean (-Os), FreeRTOS V11.1.0+ (-Os, -O2), goal.
ROWS = [
    (1, "yield", None, 134, 55, 51, 51),
    (2, "post wakes higher", None, 177, 209, 206, 150),
    (3, "mutex pair", None, 118, 117, 121, 90),
    (4, "semaphore pair", None, 72, 95, 95, 71),
    (5, "queue hand-over", None, 184, 272, 262, 150),
    (6, "queue pair", None, 235, 158, 151, 150),
    (7, "event wakes higher", None, 185, 228, 217, 184),
    (8, "event pair", None, 125, 159, 147, 124),
    (9, "interrupt to task", "Device_Handler", 216, 195, 199, 150),
    (10, "blocking pend", None, 184, 396, 389, 183),
    (11, "timer pair", None, 108, 1560, 1473, 107),
    (12, "tick, 0 delayed", "ckernel_tick", 94, 41, 43, 41),
    (13, "tick, 10 delayed", "ckernel_tick", 103, 41, 43, 41),
    (14, "tick, 100 delayed", "ckernel_tick", 103, 41, 43, 41),
    (15, "tick to task", "ckernel_tick", 244, 163, 167, 162),
    (16, "timer pair, 10 running", None, 153, 1598, 1511, 152),
    (17, "delay, 100 delayed", None, 2082, 700, 693, 692),
    (18, "delay, none delayed", None, 182, 195, 188, 181),
]
UNTIL_SWITCH = {17, 18}
MASK, UNMASK = "cpsid", "msr\tPRIMASK"


def run(command, **options):
    return subprocess.run(command, check=True, capture_output=True, text=True, **options).stdout


def symbols(elf):
    found = {}
    for line in run(["arm-none-eabi-nm", "-S", elf]).splitlines():
        fields = line.split()
        if len(fields) == 4 and fields[2] in "tT":
            found[fields[3]] = (int(fields[0], 16) & ~1, int(fields[1], 16))
    return found


def trace(elf):
    """The addresses of the instructions in the order of their execution."""
    version = run(["qemu-system-arm", "--version"])
    step = "-singlestep" if int(re.search(r"version (\d+)", version).group(1)) < 8 else "-accel tcg,one-insn-per-tb=on"
    with tempfile.TemporaryDirectory() as folder:
        log = os.path.join(folder, "log")
        command = ["qemu-system-arm", "-M", "mps2-an386", "-display", "none", "-monitor", "none", "-serial", "none",
                   "-semihosting-config", "enable=on,target=native", "-icount", "shift=0", *step.split(),
                   "-d", "exec,nochain", "-D", log, "-kernel", elf]
        subprocess.run(command, check=True, timeout=300)
        addresses = []
        with open(log) as lines:
            for line in lines:
                if line.startswith("Trace"):
                    addresses.append(int(line.split("[")[1].split("/")[1], 16))
                elif line.startswith("Stopped execution of TB chain before"):
                    addresses.pop()
        return addresses


def longest_masked(elf, addresses):
    """The longest run of instructions with interrupts masked, the context switch included, and where it began."""
    kinds = {}
    for line in run(["arm-none-eabi-objdump", "-d", "--no-show-raw-insn", elf]).splitlines():
        match = re.match(r"\s*([0-9a-f]+):\s+(\S+)\s*(.*)", line)
        if match:
            kinds[int(match.group(1), 16)] = match.group(2) + " " + match.group(3)
    longest, begin, count, start = 0, None, None, None
    for address in addresses:
        text = kinds.get(address, "")
        if count is None:
            if text.startswith("cpsid"):
                count, start = 0, address
        else:
            count += 1
            if text.startswith("cpsie") or (text.startswith("msr") and "PRIMASK" in text):
                if count > longest:
                    longest, begin = count, start
                count = None
    return longest, begin


def main():
    elf = sys.argv[1] if len(sys.argv) > 1 else "Firmware/.build/images/kernel-bench.elf"
    names = symbols(elf)
    places = {address: name for name, (address, _) in names.items()}
    addresses = trace(elf)
    markers = {names[name][0]: (name.split("_")[1], int(name.split("_")[2]))
               for name in names if re.fullmatch(r"bench_(begin|end)_\d+", name)}
    switch_begin, switch_size = names["ckernel_switch"]
    counts, spans = {}, {}
    for number, _, handler, *_ in ROWS:
        first = None
        for index, address in enumerate(addresses):
            kind = markers.get(address)
            if kind == ("begin", number):
                first = index
            elif first is not None and kind == ("end", number):
                span = addresses[first + 1:index - 1]
                if handler:
                    if names[handler][0] not in span:
                        continue
                    span = span[span.index(names[handler][0]):]
                    # Back where it was pended.
                    pended = names["bench_interrupt" if handler == "Device_Handler" else "bench_tick"]
                    inside = [i for i, a in enumerate(span) if pended[0] <= a < sum(pended)]
                    if inside and number in (12, 13, 14):
                        span = span[:inside[0]]
                if number in UNTIL_SWITCH:
                    last = next(i for i, a in enumerate(span) if switch_begin <= a < switch_begin + switch_size)
                    while switch_begin <= span[last] < switch_begin + switch_size:
                        last += 1
                    span = span[:last]
                # Other markers and the branches to them are not the operation's.
                others = sum(2 for a in span if a in markers)
                counts.setdefault(number, []).append(len(span) - others)
                spans[number] = span
                first = None
    if "--listing" in os.environ.get("BENCH_OPTIONS", ""):
        for number in spans:
            print(number, [places.get(a, hex(a)) for a in spans[number] if a in places])
    print(f"{'#':>2} {'operation':24} {'Apus':>6} {'goal':>6}   {'TencentOS':>9} {'FreeRTOS -Os':>12} {'-O2':>5}")
    missed = 0
    for number, name, _, tencent, free_small, free_fast, goal in ROWS:
        value = counts[number][-1]
        missed += value > goal
        print(f"{number:2} {name:24} {value:6} {goal:6}{' ' if value <= goal else '!'}  {tencent:9} {free_small:12} {free_fast:5}")
    longest, begin = longest_masked(elf, addresses)
    inside = max((name for name in names if names[name][0] <= begin), key=lambda name: names[name][0])
    print(f"longest run with interrupts masked: {longest} instructions, from {inside} (TencentOS: 139, and 1,991 for a delay behind 100 others)")
    print("every goal is met" if missed == 0 else f"{missed} goals are missed (!)")


main()
