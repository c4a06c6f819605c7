# frozen_string_literal: true

# What the tests need of turbo-rails, whose Ruby half cannot be installed everywhere: signed names, the tag, and
# broadcasts of models, with the names and arguments of turbo-rails 2.0.
module TurboRails
  SOURCE = <<~'RUBY'
    module Turbo
      class << self
        attr_accessor :signed_stream_verifier_key

        def signed_stream_verifier
          @signed_stream_verifier ||=
            ActiveSupport::MessageVerifier.new(signed_stream_verifier_key, digest: "SHA256", serializer: JSON)
        end
      end

      module StreamName
        def signed_stream_name(streamables)
          Turbo.signed_stream_verifier.generate(stream_name_from(streamables))
        end

        def verified_stream_name(token) = Turbo.signed_stream_verifier.verified(token)

        def stream_name_from(streamables)
          return streamables.map { |one| stream_name_from(one) }.join(":") if streamables.is_a?(Array)

          streamables.try(:to_gid_param) || streamables.to_param
        end
      end

      class StreamsChannel < ActionCable::Channel::Base
        extend StreamName

        def self.broadcast_stream_to(*streamables, content:)
          ActionCable.server.broadcast(stream_name_from(streamables), content)
        end

        def subscribed
          name = self.class.verified_stream_name(params[:signed_stream_name])
          name ? stream_from(name) : reject
        end
      end

      module StreamsHelper
        def turbo_stream_from(*streamables, **attributes)
          attributes[:channel] = attributes[:channel]&.to_s || "Turbo::StreamsChannel"
          attributes[:"signed-stream-name"] = StreamsChannel.signed_stream_name(streamables)
          tag.turbo_cable_stream_source(**attributes)
        end
      end

      class BroadcastJob < ActiveJob::Base
        def perform(streamables, content) = StreamsChannel.broadcast_stream_to(*streamables, content: content)
      end

      module Broadcastable
        def self.included(base) = base.extend(ClassMethods)

        module ClassMethods
          def broadcasts_to(stream)
            after_create_commit { broadcast_append_later_to(stream.call(self)) }
            after_destroy_commit { broadcast_remove_to(stream.call(self)) }
          end

          def broadcasts_refreshes
            after_commit { BroadcastJob.perform_later([model_name.plural], '<turbo-stream action="refresh"></turbo-stream>') }
          end
        end

        def broadcast_append_later_to(*streamables) = BroadcastJob.perform_later(streamables, stream("append"))
        def broadcast_remove_to(*streamables) = StreamsChannel.broadcast_stream_to(*streamables, content: stream("remove"))

        private

        def stream(action)
          %(<turbo-stream action="#{action}" target="#{model_name.plural}"><template>#{try(:title)}</template></turbo-stream>)
        end
      end
    end
  RUBY
end
