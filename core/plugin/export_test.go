package plugin

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"os"

	"google.golang.org/grpc/mem"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
	driverv1 "github.com/fieldloom/fieldloom/proto/driver/v1"
)

// Telemetry and Backend let a test serve something other than an engine.
type (
	Telemetry = telemetry
	Backend   struct {
		Control    control.Plane
		Ring       Telemetry
		Epoch      uint64
		Progress   func() uint64
		Conditions func() []control.Event
	}
	// Inside is what a served driver has of its process.
	Inside struct {
		Log   *slog.Logger
		Store func(link string) driver.Store
		Event func(control.Event)

		Secrets func(link string) driver.Secrets
		Gateway driver.Gateway
	}
)

// ServeBackend is Serve with a backend of the test's.
func ServeBackend(build func(Inside) Backend) {
	os.Exit(serve("fake", "1.2.3", os.Stderr, func(s *server, log *slog.Logger) (backend, closer) {
		b := build(Inside{
			Log:   log,
			Store: func(link string) driver.Store { return &store{questions: s.questions, link: link} },
			Event: s.event,

			Secrets: func(link string) driver.Secrets { return &secrets{questions: s.questions, link: link} },
			Gateway: &gateway{questions: s.questions},
		})
		return backend{b.Control, b.Ring, b.Epoch, b.Progress, b.Conditions},
			func(context.Context) error { return nil }
	}))
}

// FrameEncoder is what Serve gives the engine.
var FrameEncoder = frameEncoder

// PumpLines logs what r has and returns the last n lines.
func PumpLines(log *slog.Logger, r io.Reader, n int) []string {
	keep := newTail(n)
	newPump(log, "stderr", keep, nil, 0).run(bufio.NewReaderSize(r, maxLine))
	return keep.last()
}

// HearLines gives onLine what r has, as it comes.
func HearLines(r io.Reader, onLine func(Line)) {
	newPump(slog.New(slog.DiscardHandler), "stderr", newTail(1), onLine, 0).run(bufio.NewReaderSize(r, maxLine))
}

// NewFollower follows a file as that of a detached process's lines.
func NewFollower(file *os.File, wake chan struct{}, ended <-chan struct{}, lost func(bytes int64)) io.Reader {
	return &follower{file: file, wake: wake, ended: ended, quit: make(chan struct{}), note: func(int64) {}, lost: lost}
}

// ScanAttach reads an AttachResponse as the core does.
func ScanAttach(data []byte) (frames [][]byte, other *driverv1.AttachResponse, err error) {
	var m attachMessage
	err = m.scan(mem.BufferSlice{mem.SliceBuffer(data)})
	return m.frames, &m.other, err
}

// PackFrames makes the message that the driver side sends for frames.
func PackFrames(frames ...[]byte) []byte {
	m := newFrameMessage(frames)
	defer m.buffer.Free()
	return append([]byte(nil), m.buffer.ReadOnlyData()...)
}

// The conversions, for round trips and fuzzing.
var (
	StateToWire         = stateToWire
	StateFromWire       = stateFromWire
	StatusToWire        = statusToWire
	StatusFromWire      = statusFromWire
	SamplesToWire       = samplesToWire
	SamplesFromWire     = samplesFromWire
	EventToWire         = eventToWire
	EventFromWire       = eventFromWire
	DescriptionToWire   = descriptionToWire
	DescriptionFromWire = descriptionFromWire
	StatusOf            = statusOf
	FaultOf             = faultOf
	FrameHead           = frameHead
	ParseStat           = parseStat
)

// ParseHandshake checks a first line.
func ParseHandshake(line string) error {
	_, err := parseHandshake(line)
	return err
}

// Environment names, for drivers that a test starts by hand.
const (
	EnvCookie   = envCookie
	Cookie      = cookie
	EnvVersions = envVersions
)

// NewSilence, Begin and Over are what an attachment does with a silence.
var NewSilence = newSilence

func (s *silence) Begin() { s.begin() }
func (s *silence) Over()  { s.over() }
