// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"

	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// A loss is what its request message says about its API.
type loss struct {
	message *protogen.Message
	name    string // exported
	params  []argument
	options []argument
}

// An argument is a field or a oneof of the request message.
type argument struct {
	name    string // as in torch
	goType  string
	comment string
	field   *protogen.Field // nil for a oneof
	oneof   *protogen.Oneof // nil for a field
}

// The oneofs of the schema, by name: their argument's name in torch, and the words that say which member is for what.
var oneofs = map[string]struct {
	argument, goType string
	required         bool
	comment          string
}{
	"target": {"target", "Tensor", true, "An integer type holds class indices: $class_indices\n" +
		"A float type holds class probabilities: $class_probabilities"},
	"targets": {"targets", "Tensor", true, "Class indices in [0, C) without blank, any integer type.\n" +
		"(N, S), or (S) if log_probs is (T, C); or the targets one after the other, (sum of target_lengths)."},
	"variance": {"variance", "Tensor", true, ">= 0. $variance_values Or a [Scalar], for all elements."},
	"distance": {"distance_function", "DistanceFunction", false, "Default: [PairwiseDistance] with its defaults."},
}

func describe(message *protogen.Message, torch string) loss {
	l := loss{message: message, name: exported(torch)}
	seen := map[*protogen.Oneof]bool{}
	for _, field := range message.Fields {
		if field.Oneof == nil || field.Oneof.Desc.IsSynthetic() {
			l.add(argumentOf(field), strings.HasPrefix(comment(field.Comments), "Required."))
			continue
		}
		if !seen[field.Oneof] {
			seen[field.Oneof] = true
			known := oneofs[string(field.Oneof.Desc.Name())]
			text := known.comment
			for _, member := range field.Oneof.Fields {
				text = strings.ReplaceAll(text, "$"+string(member.Desc.Name()), comment(member.Comments))
			}
			l.add(argument{name: known.argument, goType: known.goType, comment: text, oneof: field.Oneof}, known.required)
		}
	}
	return l
}

func (l *loss) add(argument argument, required bool) {
	argument.comment = strings.TrimPrefix(strings.TrimPrefix(argument.comment, "Required. "), "Optional. ")
	argument.comment = strings.ReplaceAll(argument.comment, "class_probabilities", "class probabilities")
	if required {
		l.params = append(l.params, argument)
	} else {
		l.options = append(l.options, argument)
	}
}

func argumentOf(field *protogen.Field) argument {
	a := argument{name: string(field.Desc.Name()), comment: comment(field.Comments), field: field}
	switch {
	case field.Desc.Kind() == protoreflect.EnumKind:
		a.goType = string(field.Enum.Desc.Name())
		a.comment = comment(field.Enum.Comments)
	case field.Desc.Kind() == protoreflect.MessageKind:
		a.goType = string(field.Message.Desc.Name())
	default:
		a.goType = map[protoreflect.Kind]string{
			protoreflect.BoolKind: "bool", protoreflect.DoubleKind: "float64",
			protoreflect.Int32Kind: "int32", protoreflect.Int64Kind: "int64",
		}[field.Desc.Kind()]
	}
	if field.Desc.IsList() {
		a.goType = "[]" + a.goType
	} else if field.Desc.HasOptionalKeyword() {
		a.goType = "*" + a.goType
	}
	return a
}

func comment(c protogen.CommentSet) string {
	lines := strings.Split(strings.TrimSpace(string(c.Leading)), "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return strings.Join(lines, "\n")
}
