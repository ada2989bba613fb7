// Makes calls by the asynchronous clients of the AWS SDK for Java: reads {"service", "operation", "parameters"} from each line,
// prints {"answer"} or {"error"} on one. The SDK's own description of its types takes the parameters in and the answer out. Of an
// event stream the first event is the answer. The last line tells the content types that were seen.
// Usage: java Calls.java ENDPOINT

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.URI;
import java.time.Instant;
import java.util.*;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import software.amazon.awssdk.awscore.exception.AwsServiceException;
import software.amazon.awssdk.core.*;
import software.amazon.awssdk.core.interceptor.*;
import software.amazon.awssdk.core.protocol.MarshallingType;
import software.amazon.awssdk.core.traits.ListTrait;
import software.amazon.awssdk.core.traits.MapTrait;
import software.amazon.awssdk.protocols.jsoncore.JsonNode;
import software.amazon.awssdk.protocols.jsoncore.JsonWriter;
import software.amazon.awssdk.services.firehose.FirehoseAsyncClient;
import software.amazon.awssdk.services.kinesis.KinesisAsyncClient;
import software.amazon.awssdk.services.kinesis.model.*;
import software.amazon.awssdk.utils.builder.Buildable;

public class Calls {
    static final Set<String> spoken = Collections.synchronizedSet(new TreeSet<>());

    static final ExecutionInterceptor watch = new ExecutionInterceptor() {
        @Override
        public void afterTransmission(Context.AfterTransmission context, ExecutionAttributes attributes) {
            spoken.add(context.httpResponse().firstMatchingHeader("Content-Type").orElse("none"));
        }
    };

    public static void main(String[] arguments) throws Exception {
        var endpoint = URI.create(arguments[0]);
        var kinesis = KinesisAsyncClient.builder().endpointOverride(endpoint)
            .overrideConfiguration(change -> change.addExecutionInterceptor(watch)).build();
        var firehose = FirehoseAsyncClient.builder().endpointOverride(endpoint)
            .overrideConfiguration(change -> change.addExecutionInterceptor(watch)).build();
        Map<String, Object> clients = Map.of("firehose", firehose, "kinesis", kinesis);
        var lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            var wanted = JsonNode.parser().parse(line).asObject();
            String service = wanted.get("service").text();
            try {
                tell("answer", call(clients.get(service), service, wanted.get("operation").text(), wanted.get("parameters")));
            } catch (CompletionException failed) {
                var error = failed.getCause();
                String message = error instanceof AwsServiceException of ? of.awsErrorDetails().errorMessage() : error.toString();
                tell("error", Map.of("type", error.getClass().getSimpleName(), "message", String.valueOf(message)));
            }
        }
        tell("spoken", new ArrayList<>(spoken));
        System.exit(0);
    }

    static Object call(Object client, String service, String operation, JsonNode parameters) throws Exception {
        var type = Class.forName("software.amazon.awssdk.services." + service + ".model." + operation + "Request");
        var request = filled((SdkPojo) type.getMethod("builder").invoke(null), parameters);
        if (request instanceof SubscribeToShardRequest of) return firstEvent((KinesisAsyncClient) client, of);
        String name = Character.toLowerCase(operation.charAt(0)) + operation.substring(1);
        var interfaceOf = client instanceof KinesisAsyncClient ? KinesisAsyncClient.class : FirehoseAsyncClient.class;
        return plain(((CompletableFuture<?>) interfaceOf.getMethod(name, type).invoke(client, request)).join());
    }

    static Object firstEvent(KinesisAsyncClient client, SubscribeToShardRequest request) {
        var first = new CompletableFuture<Object>();
        var handler = SubscribeToShardResponseHandler.builder()
            .subscriber(SubscribeToShardResponseHandler.Visitor.builder()
                .onSubscribeToShardEvent(event -> first.complete(plain(event))).build())
            .onError(first::completeExceptionally)
            .build();
        var whole = client.subscribeToShard(request, handler);
        whole.whenComplete((nothing, error) -> first.completeExceptionally(error));
        Object event = first.join();
        whole.cancel(true);
        return event;
    }

    /** What the builder builds with these members; the SDK must know each of them. */
    static Object filled(SdkPojo builder, JsonNode members) {
        var left = new TreeMap<>(members.asObject());
        for (SdkField<?> field : builder.sdkFields()) {
            JsonNode value = left.remove(field.memberName());
            if (value != null) field.set(builder, read(field, value));
        }
        if (!left.isEmpty()) throw new CompletionException(new IllegalArgumentException("not known: " + left.keySet()));
        return ((Buildable) builder).build();
    }

    static Object read(SdkField<?> field, JsonNode value) {
        MarshallingType<?> type = field.marshallingType();
        if (type == MarshallingType.INTEGER) return Integer.valueOf(value.asNumber());
        if (type == MarshallingType.BOOLEAN) return value.asBoolean();
        if (type == MarshallingType.SDK_BYTES) return SdkBytes.fromByteArray(Base64.getDecoder().decode(value.text()));
        if (type == MarshallingType.SDK_POJO) return filled(field.constructor().get(), value);
        if (type == MarshallingType.LIST) {
            SdkField<?> of = field.getTrait(ListTrait.class).memberFieldInfo();
            return value.asArray().stream().map(one -> read(of, one)).toList();
        }
        if (type == MarshallingType.MAP) {
            SdkField<?> of = field.getTrait(MapTrait.class).valueFieldInfo();
            var map = new HashMap<String, Object>();
            value.asObject().forEach((key, one) -> map.put(key, read(of, one)));
            return map;
        }
        return value.text();
    }

    static Object plain(Object value) {
        if (value instanceof SdkPojo of) {
            var map = new TreeMap<String, Object>();
            for (SdkField<?> field : of.sdkFields()) {
                Object member = field.getValueOrDefault(of);
                if (member != null) map.put(field.memberName(), plain(member));
            }
            return map;
        }
        if (value instanceof SdkBytes bytes) return Base64.getEncoder().encodeToString(bytes.asByteArray());
        if (value instanceof List<?> list) return list.stream().map(Calls::plain).toList();
        return value;
    }

    static void tell(String key, Object value) {
        JsonWriter writer = JsonWriter.create();
        write(writer, Map.of(key, value));
        System.out.println(new String(writer.getBytes(), java.nio.charset.StandardCharsets.UTF_8));
    }

    static void write(JsonWriter writer, Object value) {
        if (value instanceof Map<?, ?> map) {
            writer.writeStartObject();
            map.forEach((key, one) -> {
                writer.writeFieldName((String) key);
                write(writer, one);
            });
            writer.writeEndObject();
        } else if (value instanceof List<?> list) {
            writer.writeStartArray();
            list.forEach(one -> write(writer, one));
            writer.writeEndArray();
        } else if (value instanceof Integer number) {
            writer.writeValue(number);
        } else if (value instanceof Long number) {
            writer.writeValue(number);
        } else if (value instanceof Boolean truth) {
            writer.writeValue(truth);
        } else {
            writer.writeValue(value.toString());
        }
    }
}
