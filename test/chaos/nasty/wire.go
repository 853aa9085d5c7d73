package main

import (
	"context"
	"encoding/json"
	"strings"
	"sync/atomic"
	"time"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	driverv1 "github.com/fieldloom/fieldloom/proto/driver/v1"
)

// The deeds of a driver that speaks the wire by itself.
const (
	wireStall  = "stall"  // its heartbeats go on, its progress does not
	wireMute   = "mute"   // its heartbeats stop, everything else goes on
	wireBatch  = "batch"  // sends a message of 100 MB on the stream
	wireAnswer = "answer" // answers every call with 100 MB
	wireStay   = "stay"   // never answers Drain, nor the wish that it exit
	wireLie    = "lie"    // says in Drain that frames come which it never sends, and of other links in Status
	wireLitter = "litter" // writes to every directory that it can
)

// wire is a driver without the engine.
type wire struct {
	driverv1.UnimplementedDriverServiceServer
	goplugin.NetRPCUnsupportedPlugin
	name string
	deed atomic.Pointer[string]
	// Of its first device.
	own, count atomic.Uint32
	sequence   atomic.Uint64
}

// serveWire is the main of a driver in another language, as its manual tells to write it.
func serveWire(name string) {
	w := &wire{name: name}
	w.deed.Store(new(string))
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig:  goplugin.HandshakeConfig{MagicCookieKey: "FIELDLOOM_DRIVER", MagicCookieValue: "b1946ac92492d2347c6235b4d2611184"},
		VersionedPlugins: map[int]goplugin.PluginSet{1: {"driver": w}},
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(opts, grpc.MaxSendMsgSize(1<<30), grpc.UnaryInterceptor(w.intercept))...)
		},
	})
}

// GRPCServer registers the service.
func (w *wire) GRPCServer(_ *goplugin.GRPCBroker, server *grpc.Server) error {
	driverv1.RegisterDriverServiceServer(server, w)
	return nil
}

// GRPCClient is not for a driver.
func (w *wire) GRPCClient(context.Context, *goplugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, status.Error(codes.Unimplemented, "this is a driver")
}

func (w *wire) does(deed string) bool { return *w.deed.Load() == deed }

// intercept keeps calls from being answered.
func (w *wire) intercept(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if w.does(wireStay) && (strings.HasSuffix(info.FullMethod, "/Drain") || strings.HasSuffix(info.FullMethod, "/Shutdown")) {
		select {}
	}
	return handler(ctx, req)
}

// Describe implements DriverServiceServer.
func (w *wire) Describe(context.Context, *driverv1.DescribeRequest) (*driverv1.DescribeResponse, error) {
	d := &driverv1.DescribeResponse{Name: w.name, Version: "1.0.0", LinkSchema: linkSchema, Abilities: []string{"links"},
		ProcessEpoch: uint64(time.Now().UnixNano())}
	if w.name == "again" {
		d.ProcessEpoch = 7
	}
	if w.name == "vast" {
		d.DeviceSchema = strings.Repeat(" ", hundred<<20)
	}
	return d, nil
}

// Validate implements DriverServiceServer.
func (w *wire) Validate(context.Context, *driverv1.ValidateRequest) (*driverv1.ValidateResponse, error) {
	return &driverv1.ValidateResponse{}, nil
}

// Apply implements DriverServiceServer.
func (w *wire) Apply(_ context.Context, r *driverv1.ApplyRequest) (*driverv1.ApplyResponse, error) {
	for _, l := range r.GetState().GetLinks() {
		for _, d := range l.GetDevices() {
			w.own.Store(d.GetFirstHandle())
			w.count.Store(uint32(len(r.GetState().GetTables()[d.GetTable()].GetPoints())))
		}
		var s struct{ Does string }
		if json.Unmarshal(l.GetSettings(), &s) == nil && s.Does != "" {
			w.deed.Store(&s.Does)
		}
	}
	return &driverv1.ApplyResponse{}, nil
}

// Activate implements DriverServiceServer.
func (w *wire) Activate(context.Context, *driverv1.ActivateRequest) (*driverv1.ActivateResponse, error) {
	return &driverv1.ActivateResponse{}, nil
}

// Drain implements DriverServiceServer.
func (w *wire) Drain(context.Context, *driverv1.DrainRequest) (*driverv1.DrainResponse, error) {
	if w.does(wireAnswer) {
		return &driverv1.DrainResponse{HandOff: make([]byte, hundred<<20)}, nil
	}
	if w.does(wireLie) {
		return &driverv1.DrainResponse{LastSequence: 1 << 62}, nil
	}
	return &driverv1.DrainResponse{LastSequence: w.sequence.Load()}, nil
}

// Status implements DriverServiceServer.
func (w *wire) Status(context.Context, *driverv1.StatusRequest) (*driverv1.StatusResponse, error) {
	if w.does(wireAnswer) {
		return &driverv1.StatusResponse{Links: []*driverv1.LinkStatus{{Name: strings.Repeat("n", hundred<<20)}}}, nil
	}
	if w.does(wireLie) {
		return &driverv1.StatusResponse{Links: []*driverv1.LinkStatus{{Name: "plc1", Condition: driverv1.Condition_CONDITION_DOWN}}}, nil
	}
	return &driverv1.StatusResponse{}, nil
}

// Write implements DriverServiceServer: it takes a deed.
func (w *wire) Write(_ context.Context, r *driverv1.WriteRequest) (*driverv1.WriteResponse, error) {
	deed := r.GetValue().GetString_()
	w.deed.Store(&deed)
	if deed == wireLitter {
		litter()
	}
	return &driverv1.WriteResponse{}, nil
}

// Read implements DriverServiceServer.
func (w *wire) Read(_ context.Context, r *driverv1.ReadRequest) (*driverv1.ReadResponse, error) {
	if w.does(wireLie) {
		return &driverv1.ReadResponse{Samples: []*driverv1.PointSample{{Point: "slot", Quality: driverv1.Quality_QUALITY_GOOD}}}, nil
	}
	if !w.does(wireAnswer) {
		return &driverv1.ReadResponse{}, nil
	}
	sample := &driverv1.PointSample{Point: r.GetPoints()[0], Value: &driverv1.Value{Value: &driverv1.Value_Bytes{Bytes: make([]byte, hundred<<20)}}}
	return &driverv1.ReadResponse{Samples: []*driverv1.PointSample{sample}}, nil
}

// SetLog implements DriverServiceServer.
func (w *wire) SetLog(context.Context, *driverv1.SetLogRequest) (*driverv1.SetLogResponse, error) {
	return &driverv1.SetLogResponse{}, nil
}

// Services implements DriverServiceServer: it has no questions.
func (w *wire) Services(stream grpc.BidiStreamingServer[driverv1.ServicesRequest, driverv1.ServicesResponse]) error {
	<-stream.Context().Done()
	return nil
}

// Attach implements DriverServiceServer.
func (w *wire) Attach(stream grpc.BidiStreamingServer[driverv1.AttachRequest, driverv1.AttachResponse]) error {
	if _, err := stream.Recv(); err != nil {
		return err
	}
	go func() {
		for {
			if _, err := stream.Recv(); err != nil {
				return
			}
		}
	}()
	m := &driverv1.AttachResponse{Message: &driverv1.AttachResponse_Welcome{Welcome: &driverv1.Welcome{NextSequence: w.sequence.Load() + 1}}}
	if err := stream.Send(m); err != nil {
		return err
	}
	if w.name == "again" { // one frame, so that its epoch has a mark
		if err := stream.Send(bools(w.sequence.Add(1), w.own.Load(), time.Now().UnixNano())); err != nil {
			return err
		}
	}
	return w.beat(stream)
}

func (w *wire) beat(stream grpc.BidiStreamingServer[driverv1.AttachRequest, driverv1.AttachResponse]) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var progress uint64
	for {
		select {
		case <-tick.C:
		case <-stream.Context().Done():
			return nil
		case <-w.forging():
			if err := stream.Send(forgers()[*w.deed.Load()](w, w.sequence.Add(1))); err != nil {
				return err
			}
			continue
		}
		var m *driverv1.AttachResponse
		switch {
		case w.does(wireMute):
			continue
		case w.does(wireBatch):
			m = hugeFrame()
		default:
			if !w.does(wireStall) {
				progress++
			}
			m = &driverv1.AttachResponse{Message: &driverv1.AttachResponse_Heartbeat{Heartbeat: &driverv1.Heartbeat{Progress: progress}}}
		}
		if err := stream.Send(m); err != nil {
			return err
		}
	}
}

// forging is ready where there is something to forge.
func (w *wire) forging() <-chan struct{} {
	if forgers()[*w.deed.Load()] == nil || w.own.Load() == 0 {
		return nil
	}
	ready := make(chan struct{})
	close(ready)
	return ready
}

// hugeFrame is one frame of 100 MB.
func hugeFrame() *driverv1.AttachResponse {
	block := &driverv1.Block{Runs: []uint32{1, 1}, TimeUnixNs: time.Now().UnixNano(), Kind: driverv1.Kind_KIND_BYTES,
		Bytes: [][]byte{make([]byte, hundred<<20)}}
	return &driverv1.AttachResponse{Message: &driverv1.AttachResponse_Frame{Frame: &driverv1.Frame{
		Sequence: 1, Content: &driverv1.Frame_Batch{Batch: &driverv1.Batch{Blocks: []*driverv1.Block{block}}}}}}
}
