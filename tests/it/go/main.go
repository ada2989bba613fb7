// Makes calls by the AWS SDK for Go, set up by its environment alone: reads {"service", "operation", "parameters"} from each line,
// prints {"answer"} or {"error"} on one. The parameters become the input type of the operation, and an error is told by its Go
// type, so what is printed is what errors.As finds. Of an event stream the first event is the answer. The last line tells the
// protocols that were spoken.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"reflect"
	"slices"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

type call struct {
	Service    string          `json:"service"`
	Operation  string          `json:"operation"`
	Parameters json.RawMessage `json:"parameters"`
}

type failure struct {
	Type    string `json:"type"`
	Message string `json:"message"`
}

func main() {
	var spoken []string
	settings, err := config.LoadDefaultConfig(context.Background(), config.WithAPIOptions([]func(*middleware.Stack) error{
		func(stack *middleware.Stack) error { return stack.Deserialize.Add(watch(&spoken), middleware.After) },
	}))
	if err != nil {
		panic(err)
	}
	clients := map[string]any{"firehose": firehose.NewFromConfig(settings), "kinesis": kinesis.NewFromConfig(settings)}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var wanted call
		said := map[string]any{}
		if err := json.Unmarshal(lines.Bytes(), &wanted); err != nil {
			panic(err)
		}
		if answer, err := made(clients[wanted.Service], wanted); err != nil {
			said["error"] = told(err)
		} else {
			said["answer"] = answer
		}
		tell(said)
	}
	slices.Sort(spoken)
	tell(map[string]any{"spoken": spoken})
}

func tell(value any) {
	line, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(line))
}

// Notes the version of HTTP and the content type of each answer.
func watch(spoken *[]string) middleware.DeserializeMiddleware {
	return middleware.DeserializeMiddlewareFunc("watch", func(
		ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler,
	) (middleware.DeserializeOutput, middleware.Metadata, error) {
		out, metadata, err := next.HandleDeserialize(ctx, in)
		if answer, ok := out.RawResponse.(*smithyhttp.Response); ok {
			if one := spokenBy(answer.Response); !slices.Contains(*spoken, one) {
				*spoken = append(*spoken, one)
			}
		}
		return out, metadata, err
	})
}

func spokenBy(answer *http.Response) string {
	return answer.Proto + " " + answer.Header.Get("Content-Type")
}

// The call by its name; a member of the parameters that the SDK does not know is an error.
func made(client any, wanted call) (any, error) {
	method := reflect.ValueOf(client).MethodByName(wanted.Operation)
	input := reflect.New(method.Type().In(1).Elem())
	reader := json.NewDecoder(bytes.NewReader(wanted.Parameters))
	reader.DisallowUnknownFields()
	if err := reader.Decode(input.Interface()); err != nil {
		return nil, err
	}
	out := method.Call([]reflect.Value{reflect.ValueOf(context.Background()), input})
	if err, failed := out[1].Interface().(error); failed {
		return nil, err
	}
	if subscribed, ok := out[0].Interface().(*kinesis.SubscribeToShardOutput); ok {
		return firstEvent(subscribed.GetStream())
	}
	return out[0].Interface(), nil
}

func firstEvent(stream *kinesis.SubscribeToShardEventStream) (any, error) {
	defer stream.Close()
	for event := range stream.Events() {
		if of, ok := event.(*types.SubscribeToShardEventStreamMemberSubscribeToShardEvent); ok {
			return of.Value, nil
		}
	}
	return nil, errors.Join(errors.New("the event stream has ended"), stream.Err())
}

func told(err error) failure {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return failure{Message: err.Error()}
	}
	return failure{Type: reflect.TypeOf(api).Elem().Name(), Message: api.ErrorMessage()}
}
