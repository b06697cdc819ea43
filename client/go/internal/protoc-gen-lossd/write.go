// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"

	"google.golang.org/protobuf/compiler/protogen"
)

const pb = protogen.GoImportPath("github.com/lossd/lossd/client/go/lossdpb")

func (l *loss) writeOptions(out *protogen.GeneratedFile) {
	out.P()
	out.P("// ", l.name, "Options are the optional arguments of [", l.name, "]. The zero value has torch's defaults.")
	out.P("type ", l.name, "Options struct {")
	for _, option := range l.options {
		for line := range strings.SplitSeq(option.comment, "\n") {
			if line != "" {
				out.P("\t// ", line)
			}
		}
		out.P("\t", exported(option.name), " ", option.goType)
	}
	out.P("}")
}

func (l *loss) writeConstructor(out *protogen.GeneratedFile) {
	request := out.QualifiedGoIdent(pb.Ident(l.message.GoIdent.GoName))
	out.P()
	for i, line := range strings.Split(comment(l.message.Comments), "\n") {
		if i == 0 {
			line = l.name + " returns a call of " + line
		}
		out.P("// ", line)
	}
	out.P("//")
	for _, param := range l.params {
		text := strings.ReplaceAll(param.comment, "\n", "\n//     ")
		out.P("//   - ", local(param.name), ": ", text)
	}
	out.P("//")
	out.P("// Nil options are torch's defaults.")
	out.P("func ", l.name, "(", l.parameters(), ") Call {")
	out.P("\toptions = orDefault(options)")
	out.P("\tvar arguments arguments")
	out.P("\trequest := &", request, "{")
	for _, argument := range l.params {
		writeField(out, argument, local(argument.name))
	}
	for _, argument := range l.options {
		writeField(out, argument, "options."+exported(argument.name))
	}
	out.P("\t}")
	for _, argument := range append(l.params, l.options...) {
		writeOneof(out, argument, request)
	}
	out.P("\treturn arguments.call(request)")
	out.P("}")
}

// writeField writes a field of the request's composite literal; a oneof is set afterwards.
func writeField(out *protogen.GeneratedFile, a argument, value string) {
	if a.field == nil {
		return
	}
	switch a.goType {
	case "Tensor":
		value = "arguments.tensor(\"" + a.name + "\", " + value + ")"
	case "[]AdaptiveTailCluster":
		value = "arguments.tail(" + value + ")"
	case "Reduction", "Precision":
		value = out.QualifiedGoIdent(pb.Ident(a.goType)) + "(" + value + ")"
	}
	out.P("\t\t", a.field.GoName, ": ", value, ",")
}

func writeOneof(out *protogen.GeneratedFile, a argument, request string) {
	if a.oneof == nil {
		return
	}
	member := func(i int, value string) string {
		field := a.oneof.Fields[i].GoName
		return "request." + a.oneof.GoName + " = &" + request + "_" + field + "{" + field + ": " + value + "}"
	}
	tensor := "arguments.tensor(\"" + a.name + "\", " + local(a.name) + ")"
	switch a.oneof.Desc.Name() {
	case "target":
		out.P("\tif target := ", tensor, "; isFloat(target) {")
		out.P("\t\t", member(1, "target"))
		if strings.HasSuffix(request, ".CrossEntropyLossRequest") {
			out.P("\t\trequest.IgnoreIndex = unlessDefault(options.IgnoreIndex)")
		}
		out.P("\t} else if target != nil {")
		out.P("\t\t", member(0, "target"))
		out.P("\t}")
	case "targets":
		out.P("\tif targets := ", tensor, "; targets != nil && len(targets.Shape) != 2 && len(request.LogProbs.GetShape()) != 2 {")
		out.P("\t\t", member(1, "targets"))
		out.P("\t} else if targets != nil {")
		out.P("\t\t", member(0, "targets"))
		out.P("\t}")
	case "variance":
		out.P("\tif number, ok := variance.scalar(); ok {")
		out.P("\t\t", member(1, "number"))
		out.P("\t} else if variance := ", tensor, "; variance != nil {")
		out.P("\t\t", member(0, "variance"))
		out.P("\t}")
	case "distance":
		out.P("\tif options.DistanceFunction != nil {")
		out.P("\t\toptions.DistanceFunction.set(request)")
		out.P("\t}")
	}
}

func (l *loss) writeMethod(out *protogen.GeneratedFile) {
	names := make([]string, 0, len(l.params)+1)
	for _, param := range l.params {
		names = append(names, local(param.name))
	}
	names = append(names, "options")
	ctx := out.QualifiedGoIdent(protogen.GoImportPath("context").Ident("Context"))
	out.P()
	out.P("// ", l.name, " scores a call of [", l.name, "].")
	out.P("func (c *Client) ", l.name, "(ctx ", ctx, ", ", l.parameters(), ") (Loss, error) {")
	out.P("\treturn c.Score(ctx, ", l.name, "(", strings.Join(names, ", "), "))")
	out.P("}")
}

// parameters is the parameter list of the constructor: neighbours of one type share it.
func (l *loss) parameters() string {
	var b strings.Builder
	for i, param := range l.params {
		b.WriteString(local(param.name))
		if i+1 == len(l.params) || l.params[i+1].goType != param.goType {
			b.WriteString(" " + param.goType)
		}
		b.WriteString(", ")
	}
	return b.String() + "options *" + l.name + "Options"
}
