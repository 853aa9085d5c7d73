// Command gen is protoc-gen-go-vtproto for the messages of the data plane alone: what is sent
// thousands of times a second gets code of its own, and the rest goes through the standard
// library of protobuf, which is linked for gRPC anyway. buf runs it, see buf.gen.yaml.
package main

import (
	"fmt"
	"slices"

	_ "github.com/planetscale/vtprotobuf/features/marshal"
	_ "github.com/planetscale/vtprotobuf/features/pool"
	_ "github.com/planetscale/vtprotobuf/features/size"
	_ "github.com/planetscale/vtprotobuf/features/unmarshal"
	"github.com/planetscale/vtprotobuf/generator"
	"google.golang.org/protobuf/compiler/protogen"
)

// hot are the messages of the stream Attach, and whatever is in them.
var hot = []string{
	"AttachRequest", "Hello", "Credit", "Ack", "Heartbeat", "RingStatus",
	"AttachResponse", "Welcome", "Frames", "Frame", "Batch", "Block", "Exception", "Gap", "GapLink", "Event",
	"Fault",
}

// pooled are those of them that are used again and not collected.
var pooled = []string{"AttachRequest", "Batch", "Block"}

func main() {
	protogen.Options{}.Run(generate)
}

func generate(p *protogen.Plugin) error {
	config := generator.Config{Poolable: generator.NewObjectSet(), PoolableExclude: generator.NewObjectSet()}
	found := 0
	for _, file := range p.Files {
		if !file.Generate {
			continue
		}
		for _, name := range pooled {
			if err := config.Poolable.Set(string(file.GoImportPath) + "." + name); err != nil {
				return err
			}
		}
		file.Messages = slices.DeleteFunc(file.Messages, func(m *protogen.Message) bool { return !slices.Contains(hot, m.GoIdent.GoName) })
		found += len(file.Messages)
	}
	if found != len(hot) {
		return fmt.Errorf("%d of the %d messages of the data plane are in the files: mend the list in proto/gen", found, len(hot))
	}
	g, err := generator.NewGenerator(p, []string{"marshal", "unmarshal", "size", "pool"}, &config)
	if err != nil {
		return err
	}
	g.Generate()
	return nil
}
