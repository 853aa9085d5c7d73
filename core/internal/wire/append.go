package wire

import (
	"github.com/fieldloom/fieldloom/core/frame"
)

// AppendFrame appends the encoded frame of a batch or of a gap, whichever is not nil: what a
// Handler gets and DecodeFrame reads. The core writes its own gap records with it.
func AppendFrame(dst []byte, seq uint64, b *frame.Batch, g *frame.Gap) []byte {
	return new(encoder).append(dst, seq, b, g)
}
