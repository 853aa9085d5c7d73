package wire

import (
	"fmt"
	"slices"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

// Codec marshals with the methods that vtprotobuf generated where a message has them, and with
// stock protobuf otherwise (health, reflection). The wire is the same, so its name is too.
type Codec struct {
	Limits []int // of received messages, see checkFields; nil: the peer is trusted
}

var _ encoding.CodecV2 = Codec{}

// vtMessage is a message with generated code.
type vtMessage interface {
	SizeVT() int
	MarshalToSizedBufferVT([]byte) (int, error)
	UnmarshalVT([]byte) error
}

// encoded is a message that is bytes already; gRPC takes over the buffer.
type encoded interface {
	take() mem.Buffer
}

// scanner is a message that reads itself from gRPC's buffers.
type scanner interface {
	scan(mem.BufferSlice) error
}

// Name implements encoding.CodecV2.
func (Codec) Name() string { return "proto" }

// Marshal implements encoding.CodecV2.
func (Codec) Marshal(v any) (mem.BufferSlice, error) {
	switch m := v.(type) {
	case encoded:
		return mem.BufferSlice{m.take()}, nil
	case vtMessage:
		return marshalVT(m)
	case proto.Message:
		data, err := proto.Marshal(m)
		return mem.BufferSlice{mem.SliceBuffer(data)}, err
	default:
		return nil, fmt.Errorf("encode message: %T is not protobuf", v)
	}
}

func marshalVT(m vtMessage) (mem.BufferSlice, error) {
	size := m.SizeVT()
	if mem.IsBelowBufferPoolingThreshold(size) {
		data := make([]byte, size)
		_, err := m.MarshalToSizedBufferVT(data)
		return mem.BufferSlice{mem.SliceBuffer(data)}, err
	}
	pool := mem.DefaultBufferPool()
	data := pool.Get(size)
	if _, err := m.MarshalToSizedBufferVT((*data)[:size]); err != nil {
		pool.Put(data)
		return nil, err
	}
	return mem.BufferSlice{mem.NewBuffer(data, pool)}, nil
}

// Unmarshal implements encoding.CodecV2.
func (c Codec) Unmarshal(data mem.BufferSlice, v any) error {
	if m, ok := v.(scanner); ok {
		return m.scan(data)
	}
	buffer := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer buffer.Free()
	if err := checkFields(buffer.ReadOnlyData(), slices.Clone(c.Limits)); err != nil {
		return err
	}
	switch m := v.(type) {
	case vtMessage: // the generated code copies what it keeps
		return m.UnmarshalVT(buffer.ReadOnlyData())
	case proto.Message:
		return proto.Unmarshal(buffer.ReadOnlyData(), m)
	default:
		return fmt.Errorf("decode message: %T is not protobuf", v)
	}
}
