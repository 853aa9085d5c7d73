package plugin

import (
	"context"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/engine"
	"github.com/fieldloom/fieldloom/core/frame"
	"github.com/fieldloom/fieldloom/core/internal/wire"
	driverv1 "github.com/fieldloom/fieldloom/proto/driver/v1"
)

// telemetry is the engine's ring as an attachment uses it.
type telemetry interface {
	Attach(resumeAfter uint64) (next uint64)
	Next(ctx context.Context) (frame.Frame, error)
	TryNext() (frame.Frame, bool)
	Ack(sequence uint64)
	Status() control.RingStatus
}

// backend is the engine as the data plane sees it.
type backend struct {
	control    control.Plane
	ring       telemetry
	epoch      uint64
	progress   func() uint64
	conditions func() []control.Event
}

// server serves DriverService from an engine. Its unary calls are one line each:
// the engine does the work.
type server struct {
	driverv1.UnimplementedDriverServiceServer
	backend
	questions *questions
	level     slog.LevelVar // of the driver's log

	streams  atomic.Int64 // open streams of a core
	lastSeen atomic.Int64 // when the last of them ended; nanoseconds since created, 0: there was none
	created  time.Time
	applied  atomic.Bool // it has a state that somebody may miss

	mu      sync.Mutex
	current *session // the core that is attached; nil: none
	epoch   uint64   // the highest core epoch seen
}

var _ driverv1.DriverServiceServer = (*server)(nil)

func newServer(q *questions) *server {
	return &server{questions: q, created: time.Now()}
}

func (s *server) register(to *grpc.Server) { driverv1.RegisterDriverServiceServer(to, s) }

func (s *server) Describe(ctx context.Context, _ *driverv1.DescribeRequest) (*driverv1.DescribeResponse, error) {
	d, err := s.control.Describe(ctx)
	if err != nil {
		return nil, wire.StatusOf(err)
	}
	return wire.EncodeDescription(d), nil
}

func (s *server) Validate(ctx context.Context, r *driverv1.ValidateRequest) (*driverv1.ValidateResponse, error) {
	state, err := wire.DecodeState(r.GetState())
	if err != nil {
		return nil, wire.StatusOf(&driver.Error{Code: driver.InvalidConfig, Text: err.Error()})
	}
	faults, err := s.control.Validate(ctx, state)
	if err != nil {
		return nil, wire.StatusOf(err)
	}
	return &driverv1.ValidateResponse{Faults: wire.EncodeConfigErrors(faults)}, nil
}

func (s *server) Apply(ctx context.Context, r *driverv1.ApplyRequest) (*driverv1.ApplyResponse, error) {
	state, err := wire.DecodeState(r.GetState())
	if err != nil {
		return nil, wire.StatusOf(&driver.Error{Code: driver.InvalidConfig, Text: err.Error()})
	}
	faults, err := s.control.Apply(ctx, state, control.ApplyOptions{Standby: r.GetStandby(), HandOff: r.GetHandOff(), Hold: r.GetHold(),
		Part: r.GetPart(), Remove: r.GetRemove()})
	if err != nil {
		return nil, wire.StatusOf(err)
	}
	if len(faults) == 0 {
		s.applied.Store(len(state.Links) > 0 || r.GetPart() && s.applied.Load())
	}
	return &driverv1.ApplyResponse{Faults: wire.EncodeConfigErrors(faults)}, nil
}

// pager is a Control that can tell a part of its status.
type pager interface {
	StatusPage(first, limit int) (s *control.Status, total int)
}

var _ pager = (*engine.Engine)(nil)

func (s *server) Status(ctx context.Context, r *driverv1.StatusRequest) (*driverv1.StatusResponse, error) {
	if pages, ok := s.control.(pager); ok {
		page, total := pages.StatusPage(int(min(r.GetFirst(), math.MaxInt32)), int(min(r.GetLimit(), math.MaxInt32)))
		wire := wire.EncodeStatus(page)
		wire.Total = uint32(total)
		return wire, nil
	}
	status, err := s.control.Status(ctx)
	if err != nil {
		return nil, wire.StatusOf(err)
	}
	return wire.EncodeStatus(status), nil
}

func (s *server) Read(ctx context.Context, r *driverv1.ReadRequest) (*driverv1.ReadResponse, error) {
	ctx, cancel := inTime(ctx)
	defer cancel()
	samples, err := s.control.Read(ctx, r.GetLink(), r.GetDevice(), r.GetPoints())
	if err != nil {
		return nil, wire.StatusOf(err)
	}
	return &driverv1.ReadResponse{Samples: wire.EncodeSamples(samples)}, nil
}

func (s *server) Values(ctx context.Context, r *driverv1.ValuesRequest) (*driverv1.ValuesResponse, error) {
	values, next, err := s.control.Values(ctx, r.GetLink(), r.GetDevice(), int(r.GetFirst()))
	if err != nil {
		return nil, wire.StatusOf(err)
	}
	return &driverv1.ValuesResponse{Values: wire.EncodeLastValues(values), Next: uint32(next)}, nil
}

func (s *server) Write(ctx context.Context, r *driverv1.WriteRequest) (*driverv1.WriteResponse, error) {
	ctx, cancel := inTime(ctx)
	defer cancel()
	err := s.control.Write(ctx, r.GetLink(), r.GetDevice(), r.GetPoint(), wire.DecodeValue(r.GetValue()))
	if err != nil {
		return nil, wire.StatusOf(err)
	}
	return &driverv1.WriteResponse{}, nil
}

// inTime ends a call a little before the core gives it up, so that the core hears whether
// it was begun.
func inTime(ctx context.Context) (context.Context, context.CancelFunc) {
	end, ok := ctx.Deadline()
	if !ok {
		return ctx, func() {}
	}
	return context.WithDeadline(ctx, end.Add(-min(time.Until(end)/10, answerMargin)))
}

// answerMargin is how long an answer may take on its way to the core.
const answerMargin = 500 * time.Millisecond

func (s *server) Browse(ctx context.Context, r *driverv1.BrowseRequest) (*driverv1.BrowseResponse, error) {
	entries, err := s.control.Browse(ctx, r.GetLink(), r.GetDevice(), r.GetPrefix(), int(r.GetLimit()))
	if err != nil {
		return nil, wire.StatusOf(err)
	}
	found := make([]*driverv1.BrowseEntry, len(entries))
	for i := range entries {
		found[i] = wire.EncodeEntry(&entries[i])
	}
	return &driverv1.BrowseResponse{Entries: found}, nil
}

func (s *server) Discover(ctx context.Context, r *driverv1.DiscoverRequest) (*driverv1.DiscoverResponse, error) {
	ctx, cancel := inTime(ctx)
	defer cancel()
	found, candidates, err := s.control.Discover(ctx, r.GetLink(), driver.Candidate{
		Within: r.GetWithin(), Number: int(min(r.GetCandidate(), driver.MaxCandidates)),
		Patience: time.Duration(r.GetPatienceNs()), Identify: r.GetIdentify(),
	})
	if err != nil {
		return nil, wire.StatusOf(err)
	}
	answer := &driverv1.DiscoverResponse{Candidates: uint32(min(max(0, candidates), math.MaxInt32))}
	if found != nil {
		answer.Found = wire.EncodeEntry(found)
	}
	return answer, nil
}

func (s *server) Drain(ctx context.Context, r *driverv1.DrainRequest) (*driverv1.DrainResponse, error) {
	d, err := s.control.Drain(ctx, r.GetLinks())
	if err != nil {
		return nil, wire.StatusOf(err)
	}
	return &driverv1.DrainResponse{LastSequence: d.LastSequence, HandOff: d.HandOff}, nil
}

func (s *server) Activate(ctx context.Context, r *driverv1.ActivateRequest) (*driverv1.ActivateResponse, error) {
	o := control.ActivateOptions{HandOff: r.GetHandOff()}
	if since := r.GetSince(); since != 0 {
		o.Since = time.Unix(0, since)
	}
	if err := s.control.Activate(ctx, r.GetLinks(), o); err != nil {
		return nil, wire.StatusOf(err)
	}
	return &driverv1.ActivateResponse{}, nil
}

func (s *server) Check(ctx context.Context, r *driverv1.CheckRequest) (*driverv1.CheckResponse, error) {
	if err := s.control.Check(ctx, r.GetLink(), r.GetDevice()); err != nil {
		return nil, wire.StatusOf(err)
	}
	return &driverv1.CheckResponse{}, nil
}

func (s *server) SetLog(_ context.Context, r *driverv1.SetLogRequest) (*driverv1.SetLogResponse, error) {
	s.level.Set(slog.Level(r.GetLevel()))
	return &driverv1.SetLogResponse{}, nil
}

// Services lets the driver's questions through to the core for as long as the stream lasts.
func (s *server) Services(stream grpc.BidiStreamingServer[driverv1.ServicesRequest, driverv1.ServicesResponse]) error {
	defer s.seen()()
	return s.questions.serve(stream)
}

// seen counts a stream of the core until the returned function is called.
func (s *server) seen() func() {
	s.streams.Add(1)
	return func() {
		s.lastSeen.Store(int64(time.Since(s.created)))
		s.streams.Add(-1)
	}
}

// coreless tells for how long there has been no core.
func (s *server) coreless() time.Duration {
	if s.streams.Load() > 0 {
		return 0
	}
	// Never by the wall clock, which may be set.
	return max(1, time.Since(s.created)-time.Duration(s.lastSeen.Load()))
}

// met reports whether a core has ever had a stream open.
func (s *server) met() bool { return s.streams.Load() > 0 || s.lastSeen.Load() > 0 }
