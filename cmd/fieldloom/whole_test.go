package main

import (
	"context"
	"strings"
	"sync"
	"time"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	driverv1 "github.com/fieldloom/fieldloom/proto/driver/v1"
)

// whole is a driver in another language: it speaks the wire by itself and takes all of its
// links or none. A link with an x in its name is down.
type whole struct {
	driverv1.UnimplementedDriverServiceServer
	goplugin.NetRPCUnsupportedPlugin

	mu    sync.Mutex
	links []*driverv1.LinkStatus
}

func serveWhole() {
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig:  goplugin.HandshakeConfig{MagicCookieKey: "FIELDLOOM_DRIVER", MagicCookieValue: "b1946ac92492d2347c6235b4d2611184"},
		VersionedPlugins: map[int]goplugin.PluginSet{1: {"driver": new(whole)}},
		GRPCServer:       goplugin.DefaultGRPCServer,
	})
}

// GRPCServer registers the service.
func (w *whole) GRPCServer(_ *goplugin.GRPCBroker, server *grpc.Server) error {
	driverv1.RegisterDriverServiceServer(server, w)
	return nil
}

// GRPCClient is not for a driver.
func (w *whole) GRPCClient(context.Context, *goplugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, status.Error(codes.Unimplemented, "this is a driver")
}

// Describe implements DriverServiceServer.
func (w *whole) Describe(context.Context, *driverv1.DescribeRequest) (*driverv1.DescribeResponse, error) {
	return &driverv1.DescribeResponse{Name: "whole", Version: "1.0.0", LinkSchema: "{}", DeviceSchema: "{}", ProcessEpoch: uint64(time.Now().UnixNano())}, nil
}

// Validate implements DriverServiceServer.
func (w *whole) Validate(context.Context, *driverv1.ValidateRequest) (*driverv1.ValidateResponse, error) {
	return &driverv1.ValidateResponse{}, nil
}

// Apply implements DriverServiceServer.
func (w *whole) Apply(_ context.Context, r *driverv1.ApplyRequest) (*driverv1.ApplyResponse, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.links = nil
	for _, l := range r.GetState().GetLinks() {
		s := &driverv1.LinkStatus{Name: l.GetName(), Condition: driverv1.Condition_CONDITION_UP, SinceUnixNs: time.Now().UnixNano()}
		if strings.Contains(l.GetName(), "x") {
			s.Condition, s.Cause = driverv1.Condition_CONDITION_DOWN, &driverv1.Fault{Code: driverv1.Code_CODE_NOT_CONNECTED, Text: "no cable"}
		}
		for _, d := range l.GetDevices() {
			s.Devices = append(s.Devices, &driverv1.DeviceStatus{Name: d.GetName(), Condition: s.GetCondition(), SinceUnixNs: s.GetSinceUnixNs(), Cause: s.GetCause()})
		}
		w.links = append(w.links, s)
	}
	return &driverv1.ApplyResponse{}, nil
}

// Check implements DriverServiceServer: of what is off line the driver knows nothing.
func (w *whole) Check(_ context.Context, r *driverv1.CheckRequest) (*driverv1.CheckResponse, error) {
	return nil, status.Errorf(codes.NotFound, "there is no link %s", r.GetLink())
}

// Activate implements DriverServiceServer.
func (w *whole) Activate(context.Context, *driverv1.ActivateRequest) (*driverv1.ActivateResponse, error) {
	return &driverv1.ActivateResponse{}, nil
}

// Drain implements DriverServiceServer.
func (w *whole) Drain(context.Context, *driverv1.DrainRequest) (*driverv1.DrainResponse, error) {
	return &driverv1.DrainResponse{}, nil
}

// Status implements DriverServiceServer.
func (w *whole) Status(context.Context, *driverv1.StatusRequest) (*driverv1.StatusResponse, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return &driverv1.StatusResponse{Links: w.links}, nil
}

// Attach implements DriverServiceServer: it has no samples.
func (w *whole) Attach(stream grpc.BidiStreamingServer[driverv1.AttachRequest, driverv1.AttachResponse]) error {
	if _, err := stream.Recv(); err != nil {
		return err
	}
	m := &driverv1.AttachResponse{Message: &driverv1.AttachResponse_Welcome{Welcome: &driverv1.Welcome{NextSequence: 1}}}
	if err := stream.Send(m); err != nil {
		return err
	}
	beat := time.NewTicker(time.Second)
	defer beat.Stop()
	for {
		select {
		case <-beat.C:
		case <-stream.Context().Done():
			return nil
		}
		m := &driverv1.AttachResponse{Message: &driverv1.AttachResponse_Heartbeat{Heartbeat: &driverv1.Heartbeat{}}}
		if err := stream.Send(m); err != nil {
			return err
		}
	}
}
