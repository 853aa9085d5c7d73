package confine

import (
	"io"

	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/net/bpf"
)

// Filter is the filter of a policy on an architecture, for an image at descriptor 3.
func (p Policy) Filter(info *arch.Info) ([]bpf.RawInstruction, error) {
	if p.executes() {
		return p.filter().assemble(info, 3, execFiles)
	}
	return p.filter().assemble(info, 3, execAsks)
}

// Parts that are tested with what a kernel would say.
func UnifiedGroup(mounts, groups []byte) (string, error) { return unifiedGroup(mounts, groups) }
func Divide(dir string, pid int) error                   { return divide(dir, pid) }
func (p Policy) LimitGroup(dir string) error             { return p.limits().limitGroup(dir) }
func Sweep(dir string)                                   { sweep(dir) }
func Loaders(image io.ReaderAt) ([]string, error)        { return loaders(image) }
