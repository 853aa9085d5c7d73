package main

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	driverv1 "github.com/fieldloom/fieldloom/proto/driver/v1"
)

// A forger is what a driver sends that it may not, or too much of.
type forger func(w *wire, seq uint64) *driverv1.AttachResponse

// forgers are the deeds that are done on the stream, without end.
func forgers() map[string]forger {
	return map[string]forger{
		"points": func(w *wire, seq uint64) *driverv1.AttachResponse {
			return bools(seq, w.foreign(), time.Now().UnixNano())
		},
		"nobody": func(_ *wire, seq uint64) *driverv1.AttachResponse { return bools(seq, 1<<31, time.Now().UnixNano()) },
		"past":   func(w *wire, seq uint64) *driverv1.AttachResponse { return bools(seq, w.own.Load(), math.MinInt64) },
		"future": func(w *wire, seq uint64) *driverv1.AttachResponse { return bools(seq, w.own.Load(), math.MaxInt64) },
		"nulls":  manyNulls,
		"gaps":   foreignGap,
		"jumps": func(w *wire, seq uint64) *driverv1.AttachResponse {
			return bools(7*seq, w.own.Load(), time.Now().UnixNano())
		},
		"last": func(w *wire, seq uint64) *driverv1.AttachResponse {
			return bools(math.MaxUint64-2+seq%2, w.own.Load(), time.Now().UnixNano())
		},
		"events": foreignEvent,
		"texts":  longText,
		"messages": func(w *wire, seq uint64) *driverv1.AttachResponse {
			return bools(seq, w.own.Load(), time.Now().UnixNano())
		},
	}
}

func frame(f *driverv1.Frame) *driverv1.AttachResponse {
	return &driverv1.AttachResponse{Message: &driverv1.AttachResponse_Frame{Frame: f}}
}

func batch(seq uint64, b *driverv1.Block) *driverv1.AttachResponse {
	return frame(&driverv1.Frame{Sequence: seq, Content: &driverv1.Frame_Batch{Batch: &driverv1.Batch{Blocks: []*driverv1.Block{b}}}})
}

func bools(seq uint64, handle uint32, at int64) *driverv1.AttachResponse {
	return batch(seq, &driverv1.Block{Runs: []uint32{handle, 1}, TimeUnixNs: at, Kind: driverv1.Kind_KIND_BOOL, Bools: []bool{true}})
}

// foreign is a handle that another driver has.
func (w *wire) foreign() uint32 {
	if own := w.own.Load(); own > 1 {
		return own - 1
	}
	return w.own.Load() + w.count.Load()
}

// manyNulls claims a million samples in 24 bytes.
func manyNulls(w *wire, seq uint64) *driverv1.AttachResponse {
	return batch(seq, &driverv1.Block{Runs: []uint32{w.own.Load(), 1 << 20}, TimeUnixNs: time.Now().UnixNano()})
}

// foreignGap tells of a loss of another driver, of everything, for ever.
func foreignGap(_ *wire, seq uint64) *driverv1.AttachResponse {
	return frame(&driverv1.Frame{Sequence: seq, Content: &driverv1.Frame_Gap{Gap: &driverv1.Gap{
		Samples: math.MaxUint64, FromUnixNs: math.MinInt64, ToUnixNs: time.Now().UnixNano(),
		Cause: &driverv1.Fault{Code: driverv1.Code_CODE_LOST, Text: "driver modbus: frames 1 to 9 never came"},
	}}})
}

func foreignEvent(*wire, uint64) *driverv1.AttachResponse {
	return &driverv1.AttachResponse{Message: &driverv1.AttachResponse_Event{Event: &driverv1.Event{
		TimeUnixNs: time.Now().UnixNano(), Link: "plc1", Device: "d", Condition: driverv1.Condition_CONDITION_DOWN,
		Cause: &driverv1.Fault{Code: driverv1.Code_CODE_TIMEOUT, Text: "does not answer"},
	}}}
}

// longText is a value of 7 MB, which is its own.
func longText(w *wire, seq uint64) *driverv1.AttachResponse {
	return batch(seq, &driverv1.Block{Runs: []uint32{w.own.Load(), 1}, TimeUnixNs: time.Now().UnixNano(), Kind: driverv1.Kind_KIND_STRING,
		Strings: []string{strings.Repeat("t", 7<<20)}})
}

// stderr is what go-plugin replaces by a pipe of its own, which nobody reads here.
var stderr = os.Stderr

// litter fills every directory that it may write to, up to 256 MB.
func litter() {
	block := make([]byte, 1<<20)
	for _, dir := range []string{os.Getenv("PLUGIN_UNIX_SOCKET_DIR"), os.TempDir(), "."} {
		f, err := os.Create(filepath.Join(dir, "nasty-litter"))
		n := 0
		for ; err == nil && n < 256; n++ {
			_, err = f.Write(block)
		}
		fmt.Fprintf(stderr, "%d MB of litter: %v\n", n, err)
		if f != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}
}
