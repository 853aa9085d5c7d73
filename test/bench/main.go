// Command bench prints Fieldloom's figures, each as one line of JSON beside a
// limit that is measured in the same run: {"figure","value","unit","limit","ratio"}.
// Value and limit are medians of the runs, ratio is the median of the runs' ratios.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 3 && args[0] == "sim" {
		n, err1 := strconv.Atoi(args[1])
		registers, err2 := strconv.Atoi(args[2])
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		return serveSim(context.Background(), n, registers)
	}
	if len(args) == 5 && args[0] == "bare" {
		return serveBare(args[1:])
	}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	b := &bench{}
	flags.StringVar(&b.bin, "bin", "bin/fieldloom", "the gateway to measure; its drivers stand beside it")
	flags.IntVar(&b.runs, "runs", 5, "runs of each figure")
	flags.DurationVar(&b.length, "length", 15*time.Second, "length of a run")
	flags.StringVar(&b.links, "links", "1000/1,5000/1,10000/1,10000/2", "plants of scale: links a driver, and after a slash its instances (0: as it sees fit)")
	flags.DurationVar(&b.period, "period", 5*time.Second, "how often scale polls each link")
	flags.StringVar(&b.keep, "keep", "", "beginning of the names of files in which scale keeps the gateway's log")
	only := flags.String("only", "", "figures to take, by prefix, with commas; all when empty")
	if err := flags.Parse(args); err != nil {
		return err
	}
	bin, err := filepath.Abs(b.bin)
	if err != nil {
		return err
	}
	b.bin = bin
	if err := raiseFiles(); err != nil {
		return err
	}
	for _, f := range figures {
		if *only != "" && !slices.ContainsFunc(strings.Split(*only, ","), func(p string) bool { return strings.HasPrefix(f.name, p) }) {
			continue
		}
		if err := f.take(b); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	return nil
}

// serveBare is a bare loop process; it answers on stdout what it did.
func serveBare(args []string) error {
	registers, err1 := strconv.Atoi(args[1])
	inFlight, err2 := strconv.Atoi(args[2])
	length, err3 := time.ParseDuration(args[3])
	if err := errors.Join(err1, err2, err3, raiseFiles()); err != nil {
		return err
	}
	addrs, err := readLines(os.Stdin)
	if err != nil {
		return err
	}
	var slots *lean
	if args[0] == "lean" {
		if slots, err = dialLean(addrs, registers); err != nil {
			return err
		}
	}
	var r bareResult
	before, err := processorTime()
	if err != nil {
		return err
	}
	begin := time.Now()
	switch args[0] {
	case "slots":
		r.Polls, err = bareSlots(addrs, registers, length)
	case "lean":
		r.Polls, err = slots.run(length)
	case "flat":
		r.Polls, err = bareFlatOut(addrs[0], registers, inFlight, length)
	default:
		err = fmt.Errorf("no bare loop %q", args[0])
	}
	if err != nil {
		return err
	}
	r.Elapsed = time.Since(begin)
	after, err := processorTime()
	if err != nil {
		return err
	}
	r.CPU = after - before
	return json.NewEncoder(os.Stdout).Encode(r)
}

// processorTime is what the process has used so far.
func processorTime() (time.Duration, error) {
	var used syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &used)
	return time.Duration(used.Utime.Nano() + used.Stime.Nano()), err
}

// A figure is one line of the output.
type figure struct {
	Figure string  `json:"figure"`
	Value  float64 `json:"value"`
	Unit   string  `json:"unit"`
	Limit  float64 `json:"limit"`
	Ratio  float64 `json:"ratio"`
}

// report prints the medians of paired values and limits.
func report(name, unit string, values, limits []float64) error {
	ratios := make([]float64, len(values))
	for i := range values {
		ratios[i] = values[i] / limits[i]
	}
	return json.NewEncoder(os.Stdout).Encode(figure{name, median(values), unit, median(limits), median(ratios)})
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// raiseFiles lifts the soft limit of open files to the hard one: 5,000 devices
// are 5,000 sockets.
func raiseFiles() error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	limit.Cur = limit.Max
	return syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
}
