//go:build peers

package plugin_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/frame"
	"github.com/fieldloom/fieldloom/core/internal/host"
	"github.com/fieldloom/fieldloom/core/internal/wire"
	driverv1 "github.com/fieldloom/fieldloom/proto/driver/v1"
)

type frames struct {
	t    *testing.T
	each chan *frame.Batch
}

func (f *frames) Frame(_ uint64, frame []byte) {
	_, batch, _, err := wire.DecodeFrame(frame)
	if err != nil {
		f.t.Error(err)
	}
	f.each <- batch
}
func (f *frames) Event(control.Event) {}
func (f *frames) Heartbeat(uint64)    {}

func TestPeerPython(t *testing.T) {
	set, err := proto.Marshal(&descriptorpb.FileDescriptorSet{
		File: []*descriptorpb.FileDescriptorProto{protodesc.ToFileDescriptorProto(driverv1.File_driver_v1_driver_proto)},
	})
	if err != nil {
		t.Fatal(err)
	}
	descriptors := filepath.Join(t.TempDir(), "driver.binpb")
	if err := os.WriteFile(descriptors, set, 0o600); err != nil {
		t.Fatal(err)
	}
	p := launch(t, host.Command{
		Name: "counter", Path: "/usr/bin/python3", Args: []string{"testdata/python_driver/driver.py"},
		Env: []string{"DRIVER_DESCRIPTORS=" + descriptors},
	})
	if d := p.Description(); d.Name != "counter" || d.ProcessEpoch == 0 {
		t.Errorf("description %+v", d)
	}
	if err := p.Write(t.Context(), "l", "d", "setpoint", driver.BoolValue(true)); err != nil {
		t.Error(err)
	}
	err = p.Write(t.Context(), "l", "d", "other", driver.BoolValue(true))
	if driver.CodeOf(err) != driver.NotFound || err.Error() != "there is no point other" {
		t.Errorf("plain status of a foreign driver: %v, %v", driver.CodeOf(err), err)
	}
	if _, err := p.Browse(t.Context(), "l", "d", "", 1); driver.CodeOf(err) != driver.Unsupported {
		t.Errorf("method that the driver lacks: %v", err)
	}
	if _, _, err := p.Discover(t.Context(), "l", driver.Candidate{}); driver.CodeOf(err) != driver.Unsupported || !strings.Contains(err.Error(), "cannot look for devices") {
		t.Errorf("a discovery by a driver that knows of none: %v", err)
	}
	f := &frames{t: t, each: make(chan *frame.Batch, 10)}
	a, err := p.Attach(t.Context(), host.Hello{CoreEpoch: 1}, f)
	if err != nil {
		t.Fatal(err)
	}
	for i := int64(1); i <= 10; i++ {
		batch := waitFor(t, f.each, "frame")
		if b := batch.Blocks[0]; b.Ints[0] != i || b.Ints[1] != -i || b.Runs[0] != 7 {
			t.Errorf("frame %d: %+v", i, b)
		}
		a.Ack(uint64(i))
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
}
