package wire

import (
	"google.golang.org/grpc/mem"

	driverv1 "github.com/fieldloom/fieldloom/proto/driver/v1"
)

// ScanAttach reads an AttachResponse as the core does.
func ScanAttach(data []byte) (frames [][]byte, other *driverv1.AttachResponse, err error) {
	var m AttachMessage
	err = m.scan(mem.BufferSlice{mem.SliceBuffer(data)})
	return m.Frames, &m.Other, err
}

// PackFrames makes the message that the driver side sends for frames.
func PackFrames(frames ...[]byte) []byte {
	m := NewFrameMessage(frames)
	defer m.buffer.Free()
	return append([]byte(nil), m.buffer.ReadOnlyData()...)
}

// ParseStat reads a /proc/PID/stat.
func ParseStat(data []byte) error {
	_, err := parseStat(data)
	return err
}
