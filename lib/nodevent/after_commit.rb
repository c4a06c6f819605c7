# frozen_string_literal: true

module NoDevent
  # Waits until the transactions of Active Record that are open in this thread are committed: those of all databases. It
  # knows nothing about publications.
  #
  # Rails 7.2 and newer report that. For older versions, something that looks like a record is added to each
  # transaction, as Active Record does with records that have `after_commit` callbacks.
  # @api private
  module AfterCommit
    # Receives from a transaction what a record would.
    class Listener
      def initialize(&committed)
        @committed = committed
      end

      def committed!(*, **)
        @committed.call
      end

      def before_committed!(*); end

      def rolledback!(*, **); end

      def trigger_transactional_callbacks?
        true
      end

      def has_transactional_callbacks? # rubocop:disable Naming/PredicateName -- Active Record's name
        true
      end

      def destroyed?
        false
      end
    end

    class << self
      # @return [Boolean] whether an `emit` without the option waits
      attr_reader :default

      def default=(wanted)
        @default = wanted
        Native::FastPath.invalidate
      end

      # Calls the block after the commit; never, if one of the transactions is rolled back. A savepoint that is rolled
      # back is enough, if it was open now.
      # @return [Boolean] `false` if no transaction is open, and the block was not called
      def wait?(&block)
        return false unless defined?(::ActiveRecord::Base)

        ::ActiveRecord.respond_to?(:after_all_transactions_commit) ? reported?(&block) : registered?(&block)
      end

      private

      # Active Record calls the block at once if no transaction is open.
      def reported?(&block)
        is_open = nil
        ::ActiveRecord.after_all_transactions_commit { is_open ? block.call : is_open = false }
        is_open.nil? && is_open = true
      end

      def registered?(&block)
        open = transactions
        remaining = open.size
        open.each { |each| each.add_record(Listener.new { block.call if (remaining -= 1).zero? }) }
        open.any?
      end

      # Those that tests wrap around each example are not joinable, and are never committed.
      def transactions
        connections = pools.filter_map(&:active_connection?)
        connections.map(&:current_transaction).select { |transaction| transaction.open? && transaction.joinable? }
      end

      # All roles and shards.
      def pools
        if ::ActiveRecord.gem_version >= Gem::Version.new("7.1")
          return ::ActiveRecord::Base.connection_handler.connection_pool_list(:all)
        end

        handlers.flat_map(&:all_connection_pools)
      end

      # Rails 6.1 may have one for each role.
      def handlers
        base = ::ActiveRecord::Base
        place = [::ActiveRecord, base].find { |owner| owner.respond_to?(:legacy_connection_handling) }
        place&.legacy_connection_handling ? base.connection_handlers.values : [base.connection_handler]
      end
    end
  end
end
