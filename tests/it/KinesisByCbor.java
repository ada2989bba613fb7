// The AWS SDK for Java as it comes, which speaks CBOR to Kinesis. Run with the endpoint; prints what the test compares.

import java.net.URI;
import java.time.Instant;
import java.util.List;
import java.util.TreeSet;
import software.amazon.awssdk.core.SdkBytes;
import software.amazon.awssdk.core.interceptor.Context;
import software.amazon.awssdk.core.interceptor.ExecutionAttributes;
import software.amazon.awssdk.core.interceptor.ExecutionInterceptor;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.kinesis.KinesisClient;
import software.amazon.awssdk.services.kinesis.model.*;

public class KinesisByCbor {
    public static void main(String[] arguments) throws Exception {
        var types = new TreeSet<String>();
        var watch = new ExecutionInterceptor() {
            @Override
            public void afterTransmission(Context.AfterTransmission context, ExecutionAttributes attributes) {
                types.add(context.httpRequest().firstMatchingHeader("Content-Type").orElse("none"));
                types.add(context.httpResponse().firstMatchingHeader("Content-Type").orElse("none"));
            }
        };
        var client = KinesisClient.builder()
            .endpointOverride(URI.create(arguments[0]))
            .region(Region.US_EAST_1)
            .overrideConfiguration(change -> change.addExecutionInterceptor(watch))
            .build();
        client.createStream(request -> request.streamName("java").shardCount(1));
        client.waiter().waitUntilStreamExists(request -> request.streamName("java"));
        Instant before = Instant.now().minusSeconds(5);

        byte[] all = new byte[256];
        for (int i = 0; i < 256; i++) all[i] = (byte) i;
        var put = client.putRecords(request -> request.streamName("java").records(
            PutRecordsRequestEntry.builder().data(SdkBytes.fromByteArray(all)).partitionKey("a").build(),
            PutRecordsRequestEntry.builder().data(SdkBytes.fromUtf8String("")).partitionKey("b").build()));
        var large = client.putRecord(request -> request.streamName("java").partitionKey("c").explicitHashKey("7")
            .data(SdkBytes.fromByteArray(new byte[1 << 20])));
        System.out.println("failed " + put.failedRecordCount() + ", shard " + large.shardId());

        var shard = client.listShards(request -> request.streamName("java")).shards().get(0);
        var iterator = client.getShardIterator(request -> request.streamName("java").shardId(shard.shardId())
            .shardIteratorType(ShardIteratorType.AT_TIMESTAMP).timestamp(before)).shardIterator();
        List<software.amazon.awssdk.services.kinesis.model.Record> records =
            client.getRecords(request -> request.shardIterator(iterator)).records();
        for (var record : records) {
            boolean whole = record.data().equals(SdkBytes.fromByteArray(all));
            long age = Instant.now().getEpochSecond() - record.approximateArrivalTimestamp().getEpochSecond();
            System.out.println(record.partitionKey() + " " + record.data().asByteArray().length + " " + whole
                + " " + (age >= 0 && age < 600));
        }
        var summary = client.describeStreamSummary(request -> request.streamName("java")).streamDescriptionSummary();
        boolean fresh = Math.abs(Instant.now().getEpochSecond() - summary.streamCreationTimestamp().getEpochSecond()) < 600;
        System.out.println("created " + fresh + ", " + summary.streamStatus());
        try {
            client.describeStreamSummary(request -> request.streamName("nobody"));
        } catch (ResourceNotFoundException error) {
            System.out.println(error.awsErrorDetails().errorMessage() + " " + (error.requestId() != null));
        }
        System.out.println(String.join(" ", types));
    }
}
