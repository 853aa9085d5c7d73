package confine

import (
	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/net/bpf"
)

// Filter is the filter of a policy on an architecture, for an image at descriptor 3.
func (p Policy) Filter(info *arch.Info) ([]bpf.RawInstruction, error) {
	if p.executes() {
		return p.assemble(info, 3, execFiles)
	}
	return p.assemble(info, 3, execAsks)
}
